// QEMU's `-device ide-hd,...` syntax: what QEMU 7.2 takes, what it refuses, and the words in which we refuse it.

import ATA
import Testing

@Suite struct DevicePropertiesTests {
    @Test func theDeviceAloneHasQEMUsDefaults() throws {
        #expect(try DriveProperties(parsing: "ide-hd") == DriveProperties())
        #expect(try DriveProperties(parsing: "driver=ide-hd") == DriveProperties())
        #expect(try DriveProperties(parsing: "ide-hd,") == DriveProperties())
    }

    @Test func everyPropertyReachesItsPlace() throws {
        let properties = try DriveProperties(
            parsing: "ide-hd,serial=918a6997-1928-38a1-9,write-cache=on,model=ACME NBD DISK,ver=1.0,"
                + "wwn=0x5000c50015ea71ac,rotation_rate=7200,physical_block_size=4096,logical_block_size=512,"
                + "discard_granularity=0,cyls=1024,heads=16,secs=63,bus=ide.1,unit=1")
        #expect(properties.serialNumber == "918a6997-1928-38a1-9")
        #expect(properties.writeCache == .on)
        #expect(properties.modelNumber == "ACME NBD DISK")
        #expect(properties.firmwareRevision == "1.0")
        #expect(properties.worldWideName == 0x5000_C500_15EA_71AC)
        #expect(properties.rotationRate == 7200)
        #expect(properties.physicalBlockBytes == 4096)
        #expect(!properties.supportsTrim)
        #expect(properties.geometry == Geometry(cylinders: 1024, heads: 16, sectorsPerTrack: 63))
        #expect(properties.bus == 1)
        #expect(properties.unit == 1)
    }

    @Test func whatOnlyQEMUUsesIsIgnored() throws {
        let text =
            "ide-hd,bus=ide.0,unit=0,drive=hd,id=disk0,bootindex=1,share-rw=on,rerror=stop,werror=report,lcyls=3"
        #expect(try DriveProperties(parsing: text) == DriveProperties())
    }

    @Test(arguments: [
        ("serial=a,,b", "a,b"), ("serial=a,,,,b", "a,,b"), ("serial=", ""), ("serial=a=b", "a=b"),
        ("serial=a,serial=b", "b"), ("serial=,,,unit=0", ","), ("serial", "on"), ("serial=e\u{301}", "e\u{301}"),
    ])
    func valuesAreQuotedAsInQEMU(text: String, serial: String) throws {
        #expect(try DriveProperties(parsing: "ide-hd," + text).serialNumber == serial)
    }

    @Test func aCommaIsSeenBesideACombiningCharacter() {
        #expect(throws: DevicePropertyError.unknownProperty("\u{301}b", of: .disk, nearest: nil)) {
            try DriveProperties(parsing: "ide-hd,serial=a,\u{301}b")
        }
    }

    @Test(arguments: [
        ("write-cache=on", DriveProperties.WriteCache.on), ("write-cache=off", .off), ("write-cache=auto", .auto),
        ("write-cache", .on), ("nowrite-cache", .off), ("write-cache=on,write-cache=off", .off),
    ])
    func writeCache(text: String, expected: DriveProperties.WriteCache) throws {
        #expect(try DriveProperties(parsing: "ide-hd," + text).writeCache == expected)
    }

    @Test(arguments: [
        ("0", 512), ("512", 512), ("0x1000", 4096), ("4k", 4096), ("4K", 4096), ("512b", 512), ("2M", 2_097_152),
        ("010000", 4096),
    ])
    func sizes(text: String, bytes: UInt32) throws {
        #expect(try DriveProperties(parsing: "ide-hd,physical_block_size=" + text).physicalBlockBytes == bytes)
    }

    @Test(arguments: [("0", 0), ("1", 1), ("65535", 65535), ("0x1c20", 7200), ("010", 8)])
    func numbers(text: String, value: UInt16) throws {
        #expect(try DriveProperties(parsing: "ide-hd,rotation_rate=" + text).rotationRate == value)
    }

    @Test(arguments: [
        "rotation_rate=65536", "rotation_rate=-1", "rotation_rate=+1", "rotation_rate=", "rotation_rate=0x",
        "rotation_rate=09", "rotation_rate=fast", "wwn=0x10000000000000000", "wwn=abc",
        "physical_block_size=256", "physical_block_size=4M", "physical_block_size=3000", "physical_block_size=k",
        "physical_block_size=16777216T", "physical_block_size=0xk", "logical_block_size=4096",
        "discard_granularity=4096", "discard_granularity=1k", "write-cache=yes", "write-cache=ON", "unit=2",
        "bus=ide.6", "bus=ide", "bus=", "bus=.0", "bus=ide.", "bus=ide.00", "bus=ide.+1", "bus=ahci.6", "bus=a.b",
        "heads=17", "cyls=65536", "secs=256", "cyls=-1",
    ])
    func badValuesAreNamed(text: String) throws {
        let parts = text.split(separator: "=", omittingEmptySubsequences: false)
        let error = try #require(throws: DevicePropertyError.self) {
            try DriveProperties(parsing: "ide-hd,cyls=1,heads=1,secs=1," + text)
        }
        guard case .badValue(let property, let value, _) = error else {
            Issue.record("\(text): \(error)")
            return
        }
        #expect(property == parts[0] && value == parts[1])
        #expect("\(error)".hasPrefix("\(text): \(property) must be "))
    }

    @Test(arguments: [
        ("cyls=1", "heads"), ("cyls=1,heads=2", "secs"), ("heads=2", "cyls"), ("secs=63,heads=16", "cyls"),
        ("cyls=0,heads=16,secs=63", "cyls"),
    ])
    func aPartialGeometryIsRefused(text: String, missing: String) {
        #expect(throws: DevicePropertyError.incompleteGeometry(missing: missing)) {
            try DriveProperties(parsing: "ide-hd," + text)
        }
    }

    @Test func aGeometryOfZeroesIsNone() throws {
        #expect(try DriveProperties(parsing: "ide-hd,cyls=0,heads=0,secs=0").geometry == nil)
    }

    @Test(arguments: [
        ("serail", "serial"), ("writecache", "write-cache"), ("rotation-rate", "rotation_rate"), ("head", "heads"),
        ("physical_block", "physical_block_size"), ("drives", "drive"), ("nonsense", nil), ("colour", nil), ("", nil),
    ])
    func anUnknownPropertyIsNamed(name: String, nearest: String?) {
        #expect(throws: DevicePropertyError.unknownProperty(name, of: .disk, nearest: nearest)) {
            try DriveProperties(parsing: "ide-hd,\(name)=1")
        }
    }

    @Test(arguments: [
        ("ide-cf", "ide-cf"), ("", ""), ("serial=1", ""), ("scsi-hd,serial=1", "scsi-hd"), ("ide-hd,,x", "ide-hd,x"),
        ("ide-hd,driver=ide-cf", "ide-cf"), ("IDE-HD", "IDE-HD"),
    ])
    func otherDevicesAreRefused(text: String, name: String) {
        #expect(throws: DevicePropertyError.unknownDevice(name)) { try DriveProperties(parsing: text) }
    }

    @Test func messagesSayWhatIsWrongAndWhatWouldBeRight() {
        let messages: [(DevicePropertyError, String)] = [
            (
                .unknownProperty("serail", of: .disk, nearest: "serial"),
                "ide-hd has no property 'serail': did you mean 'serial'?"
            ),
            (
                .badValue(property: "heads", value: "17", expected: "between 1 and 16"),
                "heads=17: heads must be between 1 and 16"
            ),
            (
                .incompleteGeometry(missing: "secs"),
                "secs is missing: cyls, heads and secs are given together or not at all"
            ),
        ]
        for (error, text) in messages { #expect("\(error)" == text) }
        #expect("\(DevicePropertyError.unknownProperty("x", of: .disk, nearest: nil))".contains("write-cache"))
        #expect("\(DevicePropertyError.unknownDevice("ide-cf"))".contains("ide-cd"))
        #expect("\(DevicePropertyError.unknownDevice(""))".contains("ide-hd"))
    }

    @Test func placesAreThoseOfTheController() throws {
        try DriveProperties(parsing: "ide-hd,bus=ide.1,unit=1").checkPlace(on: .piix3IDE)
        try DriveProperties(parsing: "ide-hd,bus=ide.5").checkPlace(on: .ich9AHCI)
        // A controller that was given on QEMU's command line has its own name.
        try DriveProperties(parsing: "ide-hd,bus=ahci.5").checkPlace(on: .ich9AHCI)
        try DriveProperties(parsing: "ide-hd,bus=my.sata.1").checkPlace(on: .piix3IDE)
        let named = try DriveProperties(parsing: "ide-hd,drive=d,bus=ahci.2")
        #expect(named.bus == 2)
        let noPort = try #require(throws: DevicePropertyError.self) { try named.checkPlace(on: .piix3IDE) }
        #expect("\(noPort)" == "bus=ahci.2: piix3-ide has the channels ahci.0 and ahci.1")
        let channel = try DriveProperties(parsing: "ide-hd,bus=ide.2")
        let slave = try DriveProperties(parsing: "ide-hd,unit=1")
        let noChannel = try #require(throws: DevicePropertyError.self) { try channel.checkPlace(on: .piix3IDE) }
        #expect("\(noChannel)" == "bus=ide.2: piix3-ide has the channels ide.0 and ide.1")
        let error = try #require(throws: DevicePropertyError.self) { try slave.checkPlace(on: .ich9AHCI) }
        #expect(
            "\(error)"
                == "unit=1: a port of ich9-ahci has one drive, unit=0; more drives hang on ide.1 to ide.5")
    }
}
