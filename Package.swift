// swift-tools-version: 6.3
import PackageDescription

/// Every target is held to the same rules: warnings are errors, and unsafe constructs have to be marked.
let strict: [SwiftSetting] = [
    .treatAllWarnings(as: .error),
    .strictMemorySafety(),
]

/// Tests may use unsafe system calls without marking each one; everything else holds for them too.
let testing: [SwiftSetting] = [
    .treatAllWarnings(as: .error)
]

func room(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .target(name: name, dependencies: dependencies, swiftSettings: strict)
}

func tests(_ name: String, _ dependencies: [Target.Dependency], resources: [Resource] = []) -> Target {
    .testTarget(name: name, dependencies: dependencies, resources: resources, swiftSettings: testing)
}

let package = Package(
    name: "spindle",
    products: [
        .executable(name: "spindle", targets: ["spindle"]),
        // For Benchmarks/, a package of its own.
        .library(
            name: "Pipeline", targets: ["Replies", "NBD", "ISCSI", "Blocks", "SCSI", "ATA", "SAT", "Units", "Export"]),
        // With it, for Fuzzing/, another one.
        .library(name: "Texts", targets: ["Control", "Settings"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
    ],
    targets: [
        .systemLibrary(name: "CLibURing", pkgConfig: "liburing", providers: [.apt(["liburing-dev"])]),
        .systemLibrary(name: "CGnuTLS", pkgConfig: "gnutls", providers: [.apt(["libgnutls28-dev"])]),
        // Headers of our own: what Swift has no word for.
        .systemLibrary(name: "CCRC32C"),
        .systemLibrary(name: "CSeccomp", pkgConfig: "libseccomp", providers: [.apt(["libseccomp-dev"])]),

        // Pure: no file descriptors, threads or clocks.
        room("Replies", []),
        room("NBD", ["Replies"]),
        room("SCSI", []),
        room("ISCSI", ["CCRC32C", "Replies", "SCSI"]),
        room("Blocks", []),
        room("ATA", ["Blocks", "TOML"]),
        room("SAT", ["SCSI", "ATA", "Blocks"]),
        room("Units", ["SAT", "SCSI", "ATA", "Blocks"]),
        room("Export", ["NBD", "Units", "SAT", "SCSI", "ATA", "Blocks"]),
        room("Reports", ["SAT", "SCSI", "ATA"]),

        // I/O.
        room("IOUring", ["CLibURing"]),
        room("Backends", ["IOUring", "Blocks"]),
        room("Counters", ["IOUring"]),
        room("Listening", ["IOUring"]),
        room("Threads", []),
        room("TLS", ["CGnuTLS"]),
        room(
            "Loop",
            [
                "Export", "Units", "Backends", "Blocks", "Counters", "IOUring", "Listening", "TLS", "NBD", "ISCSI",
                "SCSI", "Replies", "Threads",
                .product(name: "Logging", package: "swift-log"),
            ]),
        room(
            "Server",
            [
                "Loop", "Export", "Units", "Backends", "Blocks", "Counters", "IOUring", "ISCSI", "Listening", "NBD",
                "ATA", "Threads",
                .product(name: "Logging", package: "swift-log"),
            ]),

        // Around the server.
        room("TOML", []),
        room("Logs", ["Threads", .product(name: "Logging", package: "swift-log")]),
        room("Sandbox", ["CSeccomp"]),
        room(
            "Settings",
            [
                "Server", "Loop", "Listening", "Export", "Backends", "Blocks", "IOUring", "NBD", "ISCSI", "TLS", "ATA",
                "Logs", "Threads", "TOML",
                .product(name: "Logging", package: "swift-log"),
            ]),
        room(
            "Control",
            [
                "Server", "Loop", "Listening", "Settings", "Backends", "Blocks", "IOUring", "ATA", "Logs", "Threads",
                .product(name: "Logging", package: "swift-log"),
            ]),
        room("Recordings", ["Backends", "Blocks"]),
        room("Bench", ["NBD", "ISCSI", "SCSI", "TLS", "Threads"]),
        .executableTarget(
            name: "spindle",
            dependencies: [
                "Bench", "Control", "Settings", "Sandbox", "Logs", "Server", "Loop", "Listening", "Recordings",
                "Reports",
                "Backends", "Blocks", "ISCSI", "TLS", "ATA",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: strict),

        .target(name: "Seeded", path: "Tests/Seeded", swiftSettings: testing),
        .target(
            name: "WrittenQcow2", dependencies: ["Blocks", "Seeded"], path: "Tests/WrittenQcow2", swiftSettings: testing
        ),
        tests("NBDTests", ["NBD", "Replies", "Seeded"]),
        tests("SCSITests", ["SCSI"]),
        tests("ISCSITests", ["CGnuTLS", "ISCSI", "Replies", "SCSI", "Seeded"]),
        tests("BlocksTests", ["Blocks", "Seeded", "WrittenQcow2"]),
        tests("ATATests", ["ATA", "Blocks", "TOML", "Seeded"], resources: [.copy("Golden")]),
        tests("SATTests", ["SAT", "SCSI", "ATA", "Blocks", "Seeded"], resources: [.copy("Golden")]),
        tests("UnitsTests", ["Units", "SAT", "SCSI", "ATA", "Blocks", "Seeded"]),
        tests("ExportTests", ["Seeded", "Export", "Units", "NBD", "SAT", "SCSI", "ATA", "Blocks"]),
        tests("ReportsTests", ["Reports", "SAT", "SCSI", "ATA"], resources: [.copy("Golden")]),
        .target(
            name: "SimulatedKernel", dependencies: ["IOUring", "CLibURing", "Seeded"], path: "Tests/SimulatedKernel",
            swiftSettings: testing),
        tests("IOUringTests", ["IOUring", "SimulatedKernel", "Support"]),
        tests("BackendsTests", ["Backends", "Blocks", "IOUring", "Seeded", "Support"]),
        tests("CountersTests", ["Counters", "Support"]),
        tests("ListeningTests", ["Listening", "Support"]),
        .target(
            name: "LoopSupport",
            dependencies: [
                "Server", "Loop", "Export", "Backends", "IOUring", "Listening", "ATA", "Threads", "Support",
                .product(name: "Logging", package: "swift-log"),
            ],
            path: "Tests/LoopSupport", swiftSettings: testing),
        tests(
            "LoopTests",
            [
                "Loop", "Export", "Backends", "Blocks", "Counters", "IOUring", "Listening", "NBD", "TLS", "LoopSupport",
                "Seeded", "Support",
                .product(name: "Logging", package: "swift-log"),
            ]),
        tests(
            "ServerTests",
            [
                "Server", "Loop", "Backends", "Listening", "NBD", "ATA", "Threads", "LoopSupport", "Seeded", "Support",
                .product(name: "Logging", package: "swift-log"),
            ]),
        tests(
            "Simulation",
            [
                "Server", "Loop", "Listening", "Export", "ISCSI", "Units", "Backends", "Blocks", "IOUring", "ATA",
                "Recordings", "Threads", "SimulatedKernel", "Seeded", "Support", "WrittenQcow2",
                .product(name: "Logging", package: "swift-log"),
            ]),
        tests("TLSTests", ["TLS", "CGnuTLS", "Seeded", "Support"]),
        tests("LogsTests", ["Logs", "Support", .product(name: "Logging", package: "swift-log")]),
        .executableTarget(
            name: "Breakout", dependencies: ["Sandbox", "IOUring", "CSeccomp"], path: "Tests/Breakout",
            swiftSettings: testing),
        tests("SandboxTests", ["Sandbox", "Support", "Breakout"]),
        tests("TOMLTests", ["TOML", "Seeded", "Support"]),
        tests("SettingsTests", ["Settings", "Server", "Loop", "Listening", "Backends", "ATA", "Support", "Seeded"]),
        tests("ControlTests", ["Control", "Support"]),
        tests("BenchTests", ["Bench", "NBD", "ISCSI", "SCSI", "TLS", "Seeded", "Support"]),

        // Through the program as it is run.
        .target(name: "Support", dependencies: ["spindle", "CGnuTLS"], path: "Tests/Support", swiftSettings: testing),
        tests("ConformanceTests", ["Support", "Seeded", "CGnuTLS"]),
        tests("InteropTests", ["Blocks", "Seeded", "Support", "WrittenQcow2"]),
    ],
    swiftLanguageModes: [.v6]
)

// Scripts/sanitize names the tests that it runs, and does not wait for others to be built.
if let names = Context.environment["SPINDLE_TESTS"]?.split(separator: ",").map(String.init) {
    package.targets.removeAll { $0.type == .test && !names.contains($0.name) }
}
