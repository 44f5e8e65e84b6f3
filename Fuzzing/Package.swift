// swift-tools-version: 6.3
// Fuzz targets for what reads bytes of others. A package of its own: nothing of it is needed to build or run Spindle.
// Scripts/fuzz builds each as a static library that is instrumented for libFuzzer, and links it with libFuzzer's main.
import PackageDescription

let targets: [(name: String, dependencies: [Target.Dependency])] = [
    ("FuzzNBD", [.product(name: "Pipeline", package: "spindle")]),
    ("FuzzISCSI", [.product(name: "Pipeline", package: "spindle")]),
    ("FuzzATA", [.product(name: "Pipeline", package: "spindle")]),
    ("FuzzSCSI", [.product(name: "Pipeline", package: "spindle")]),
    ("FuzzUnits", [.product(name: "Pipeline", package: "spindle")]),
    ("FuzzQcow2", [.product(name: "Pipeline", package: "spindle")]),
    ("FuzzHTTP", [.product(name: "Texts", package: "spindle")]),
    ("FuzzTOML", [.product(name: "Texts", package: "spindle")]),
]

let package = Package(
    name: "fuzzing",
    products: targets.map { .library(name: $0.name, type: .static, targets: [$0.name]) },
    dependencies: [.package(name: "spindle", path: "..")],
    targets: targets.map {
        .target(name: $0.name, dependencies: $0.dependencies, swiftSettings: [.treatAllWarnings(as: .error)])
    },
    swiftLanguageModes: [.v6]
)
