// LIST_META_CONTEXT and SET_META_CONTEXT (NBD protocol, "Metadata querying", "Option types").

extension Negotiation {
    /// LIST_META_CONTEXT and SET_META_CONTEXT. The latter replaces what was selected before even when it fails.
    mutating func answerMetaContext(
        _ option: OptionType, _ data: RawSpan, _ exports: [ExportInformation]
    ) -> Event {
        let isSet = option == .setMetaContext
        if isSet { exportWithContext = nil }
        guard messages.hasChunks else {
            return Self.error(
                .errorInvalid, option.rawValue, "metadata contexts need structured replies or extended headers")
        }
        let request: MetadataQueries
        do {
            request = try MetadataQueries(data)
        } catch {
            return Self.error(.errorInvalid, option.rawValue, error.description)
        }
        let chosen: ChosenExport
        do {
            chosen = try find(request.name, exports)
        } catch {
            return Self.error(error.type, option.rawValue, error.description)
        }
        let contexts = MetadataContext.allCases.filter {
            isSet ? request.selects($0) : request.finds($0)
        }
        if isSet, !contexts.isEmpty { exportWithContext = chosen }
        var reply: [UInt8] = []
        for context in contexts { reply.append(context: context, replyTo: option) }
        reply.append(replyTo: option.rawValue, .ack)
        return .reply(reply)
    }
}
