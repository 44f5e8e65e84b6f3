// swift-tools-version: 6.2
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
        .library(name: "Pipeline", targets: ["NBD", "SCSI", "ATA", "SAT", "Export"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/LebJe/TOMLKit", from: "0.6.0"),
    ],
    targets: [
        .systemLibrary(name: "CLibURing", pkgConfig: "liburing", providers: [.apt(["liburing-dev"])]),
        .systemLibrary(name: "CGnuTLS", pkgConfig: "gnutls", providers: [.apt(["libgnutls28-dev"])]),
        .systemLibrary(name: "CSeccomp", pkgConfig: "libseccomp", providers: [.apt(["libseccomp-dev"])]),

        // Pure: no file descriptors, threads or clocks.
        room("NBD", []),
        room("SCSI", []),
        room("ATA", []),
        room("SAT", ["SCSI", "ATA"]),
        room("Export", ["NBD", "SAT", "SCSI", "ATA"]),
        room("Reports", ["SAT", "SCSI", "ATA"]),

        // I/O.
        room("IOUring", ["CLibURing"]),
        room("Media", ["IOUring"]),
        room("TLS", ["CGnuTLS"]),
        room(
            "Server",
            ["Export", "Media", "IOUring", "TLS", "NBD", "SAT", "ATA", .product(name: "Logging", package: "swift-log")]),

        // Around the server.
        room("Logs", [.product(name: "Logging", package: "swift-log")]),
        room("Sandbox", ["CSeccomp"]),
        room(
            "Settings",
            [
                "Server", "Export", "Media", "TLS", "ATA", "Logs", .product(name: "TOMLKit", package: "TOMLKit"),
                .product(name: "Logging", package: "swift-log"),
            ]),
        room(
            "Control",
            ["Server", "Settings", "Media", "ATA", "Logs", .product(name: "Logging", package: "swift-log")]),
        room("Bench", ["NBD", "TLS"]),
        .executableTarget(
            name: "spindle",
            dependencies: [
                "Bench", "Control", "Settings", "Sandbox", "Logs", "Server", "Reports", "Export", "Media", "TLS", "SAT",
                "ATA",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: strict),

        .target(name: "Seeded", path: "Tests/Seeded", swiftSettings: testing),
        tests("NBDTests", ["NBD", "Seeded"]),
        tests("SCSITests", ["SCSI"]),
        tests("ATATests", ["ATA", "Seeded"], resources: [.copy("Golden")]),
        tests("SATTests", ["SAT", "SCSI", "ATA", "Seeded"], resources: [.copy("Golden")]),
        tests("ExportTests", ["Seeded", "Export", "NBD", "SAT", "SCSI", "ATA"]),
        tests("ReportsTests", ["Reports", "SAT", "SCSI", "ATA"], resources: [.copy("Golden")]),
        tests("IOUringTests", ["IOUring"]),
        tests("MediaTests", ["Media", "IOUring", "Seeded", "Support"]),
        tests(
            "ServerTests",
            [
                "Server", "Export", "Media", "IOUring", "NBD", "ATA", "TLS", "Seeded", "Support",
                .product(name: "Logging", package: "swift-log"),
            ]),
        tests("TLSTests", ["TLS", "CGnuTLS", "Seeded", "Support"]),
        tests("LogsTests", ["Logs", .product(name: "Logging", package: "swift-log")]),
        .executableTarget(
            name: "Breakout", dependencies: ["Sandbox", "IOUring", "CSeccomp"], path: "Tests/Breakout",
            swiftSettings: testing),
        tests("SandboxTests", ["Sandbox", "Support", "Breakout"]),
        tests("SettingsTests", ["Settings", "Server", "Media", "ATA", "Support"]),
        tests("ControlTests", ["Control", "Support"]),
        tests("BenchTests", ["Bench", "NBD", "TLS", "Seeded", "Support"]),

        // Through the program as it is run.
        .target(name: "Support", dependencies: ["spindle", "CGnuTLS"], path: "Tests/Support", swiftSettings: testing),
        tests("ConformanceTests", ["Support", "Seeded", "CGnuTLS"]),
        tests("InteropTests", ["Support"]),
    ],
    swiftLanguageModes: [.v6]
)
