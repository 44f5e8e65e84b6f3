// The bits of the status and error registers (ACS-4 clause 6, "Status field" and "Error field").

/// Bits of the status register.
public enum Status {
    /// BSY: the device works on a command.
    @inlinable public static var busy: UInt8 { 0x80 }
    /// DRDY: the device takes commands.
    @inlinable public static var deviceReady: UInt8 { 0x40 }
    /// DF: the device cannot go on.
    @inlinable public static var deviceFault: UInt8 { 0x20 }
    /// DSC, ATA/ATAPI-3 and before: the heads are where they should be. A QEMU drive sets it after most commands.
    @inlinable public static var deviceSeekComplete: UInt8 { 0x10 }
    /// DRQ: the device is ready to transfer data.
    @inlinable public static var dataRequest: UInt8 { 0x08 }
    /// ERR: the error register says why the command failed.
    @inlinable public static var error: UInt8 { 0x01 }

    /// The status after a successful command: DRDY and DSC.
    @inlinable public static var done: UInt8 { deviceReady | deviceSeekComplete }
    /// The status after a failed command: DRDY and ERR.
    @inlinable public static var failed: UInt8 { deviceReady | error }
}

/// Bits of the error register.
public enum ErrorRegister {
    /// ICRC: the transfer was damaged on the way.
    @inlinable public static var interfaceCRC: UInt8 { 0x80 }
    /// UNC: the data cannot be read.
    @inlinable public static var uncorrectable: UInt8 { 0x40 }
    /// IDNF: there is no such address.
    @inlinable public static var idNotFound: UInt8 { 0x10 }
    /// ABRT: the command was aborted. The only bit that a QEMU drive ever sets.
    @inlinable public static var abort: UInt8 { 0x04 }
    /// The diagnostic code of EXECUTE DEVICE DIAGNOSTIC that says "device 0 passed" (ACS-4, EXECUTE DEVICE DIAGNOSTIC).
    @inlinable public static var devicePassed: UInt8 { 0x01 }
}
