// Configuration files (TOML 1.0): each is understood, or all that is wrong with it is said.

import Settings

/// A text as a configuration file.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ data: UnsafePointer<UInt8>, _ count: Int) -> Int32 {
    let text = String(decoding: UnsafeBufferPointer(start: data, count: count), as: UTF8.self)
    do {
        _ = try SettingsFile(path: "/tmp/spindle.toml", text: text)
    } catch {
        precondition(!error.description.isEmpty, "an error says what is wrong")
    }
    return 0
}
