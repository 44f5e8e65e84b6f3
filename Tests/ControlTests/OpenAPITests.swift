// The server does what docs/openapi.yaml says, and nothing else.

import Foundation
import Support
import Testing

@Suite struct OpenAPITests {
    @Test func theServerIsAsDocumented() throws {
        let folder = try TemporaryFolder()
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("../..")
        let script = root.appendingPathComponent("Tests/Interop/check-openapi").standardized.path
        let result = try Program.tool("python3").run([script, Program.spindle.path], in: folder)
        #expect(result.status == 0, "\(result.errors)")
    }
}
