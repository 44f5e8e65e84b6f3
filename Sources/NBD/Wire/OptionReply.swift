// Replies to options (NBD protocol, "Fixed newstyle negotiation", "Option reply types"). Off the hot path, so arrays.

extension [UInt8] {
    /// Appends a reply to an option: magic, the option as the client sent it, type, length and data.
    mutating func append(replyTo option: UInt32, _ type: OptionReplyType, data: [UInt8] = []) {
        append(bigEndian: Magic.optionReply)
        append(bigEndian: option)
        append(bigEndian: type.rawValue)
        append(bigEndian: UInt32(data.count))
        append(contentsOf: data)
    }

    /// Appends the REP_SERVER of one export: its name, and the description as the text that may follow.
    mutating func append(serverReplyFor export: ExportInformation) {
        var data: [UInt8] = []
        data.append(bigEndian: UInt32(export.name.count))
        data.append(contentsOf: export.name)
        data.append(contentsOf: export.description)
        append(replyTo: OptionType.list.rawValue, .server, data: data)
    }

    /// Appends the REP_META_CONTEXT of one context. In a list, which selects nothing, the id is reserved.
    mutating func append(context: MetadataContext, replyTo option: OptionType) {
        var data: [UInt8] = []
        data.append(bigEndian: option == .setMetaContext ? context.rawValue : 0)
        data.append(contentsOf: context.name.utf8)
        append(replyTo: option.rawValue, .metaContext, data: data)
    }

    /// Appends one REP_INFO.
    mutating func append(
        info type: InfoType, of export: ExportInformation, replyTo option: UInt32, flags: TransmissionFlags
    ) {
        var data: [UInt8] = []
        data.append(bigEndian: type.rawValue)
        switch type {
        case .export:
            data.append(bigEndian: export.sizeBytes)
            data.append(bigEndian: flags.rawValue)
        case .name:
            data.append(contentsOf: export.name)
        case .description:
            data.append(contentsOf: export.description)
        case .blockSize:
            data.append(bigEndian: export.blockSizes.minimumBytes)
            data.append(bigEndian: export.blockSizes.preferredBytes)
            data.append(bigEndian: export.blockSizes.maximumPayloadBytes)
        }
        append(replyTo: option, .info, data: data)
    }
}
