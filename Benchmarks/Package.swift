// swift-tools-version: 6.3
// Measurements of the request pipeline. A package of its own, so that nothing of it is needed to build or run Spindle.
import PackageDescription

let package = Package(
    name: "benchmarks",
    dependencies: [
        .package(name: "spindle", path: ".."),
        // Without traits: what counts allocations and reference counts here is RuntimeCounters, below.
        .package(url: "https://github.com/ordo-one/benchmark", from: "1.38.1", traits: []),
    ],
    targets: [
        .target(name: "RuntimeCounters"),
        .executableTarget(
            name: "PipelineCost",
            dependencies: [
                "RuntimeCounters",
                .product(name: "Pipeline", package: "spindle"),
                .product(name: "Benchmark", package: "benchmark"),
            ],
            path: "Benchmarks/PipelineCost",
            swiftSettings: [.treatAllWarnings(as: .error)],
            plugins: [.plugin(name: "BenchmarkPlugin", package: "benchmark")]),
    ],
    swiftLanguageModes: [.v6]
)
