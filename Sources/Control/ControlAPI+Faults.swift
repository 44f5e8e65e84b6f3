// The faults of drives, as the API has them.

import ATA
import Server

extension ControlAPI {
    func faults(of name: String) throws(HTTPFailure) -> HTTPResponse {
        do throws(ServerError) {
            return HTTPResponse(.ok, Answer.Faults(of: name, try program.server.faults(of: name)))
        } catch {
            throw HTTPFailure(error)
        }
    }

    func plantFault(in name: String, _ body: [UInt8]) throws(HTTPFailure) -> HTTPResponse {
        guard let text = try JSON.decode(body).member("rule", of: ["rule"]) else {
            throw HTTPFailure(.unprocessableContent, "the rule is missing: \"unreadable lba=81920..81927\"")
        }
        let rule: FaultRule
        do throws(FaultRuleError) {
            rule = try FaultRule(parsing: text)
        } catch {
            throw HTTPFailure(unprocessable: error)
        }
        do throws(ServerError) {
            return HTTPResponse(.ok, Answer.Faults(of: name, try program.server.plant(rule, in: name)))
        } catch {
            throw HTTPFailure(error)
        }
    }

    func liftFault(_ text: String?, of name: String) throws(HTTPFailure) -> HTTPResponse {
        let number = text.flatMap { UInt8($0) }
        guard text == nil || number != nil && text?.first != "+" else {
            throw HTTPFailure(
                .badRequest,
                "'\(text ?? "")' is no number of a fault: one from 1 to \(FaultRule.limit), as they are listed")
        }
        do throws(ServerError) {
            return HTTPResponse(
                .ok, Answer.Faults(of: name, try program.server.liftFault(number.map { Int($0) }, of: name)))
        } catch {
            throw HTTPFailure(error)
        }
    }
}

extension Answer {
    /// The faults of a drive.
    struct Faults: Codable {
        let export: String
        /// In the order of their planting.
        let faults: [Fault]

        /// One of them.
        struct Fault: Codable {
            let number: Int
            let rule: String
            /// How many commands it could have happened to.
            let commands: UInt64
            /// How many it has failed.
            let failures: UInt64
            /// Sectors that were found unreadable, and not written since.
            let pendingSectors: UInt64
        }

        init(of name: String, _ faults: [FaultStatus]) {
            export = name
            self.faults = faults.map {
                Fault(
                    number: $0.number, rule: $0.rule, commands: $0.commands, failures: $0.failures,
                    pendingSectors: $0.pendingSectors)
            }
        }
    }
}
