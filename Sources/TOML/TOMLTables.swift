// The tables of a document while it is read: which of them may still be extended, and how (TOML 1.0.0, "Keys", "Table",
// "Array of Tables").

/// Tables refer to each other by number, so that neither building nor forgetting them needs a deep stack.
struct TOMLTables {
    /// How a table came to be.
    enum Origin: Equatable {
        /// A header names something in it: it may be defined later.
        case implied
        /// It has a header of its own, and is never extended elsewhere.
        case header
        /// Dotted keys of this section (the lines below one header) are in it: others cannot be added by those of
        /// another one.
        case dotted(section: Int)
    }

    enum Member {
        /// Nothing can be added to it.
        case value(TOMLValue)
        case table(Int)
        /// An array of tables.
        case tables([Int])
    }

    private struct Table {
        var origin: Origin
        let line: Int
        let depth: Int
        var members: [String: (member: Member, line: Int)] = [:]
    }

    /// The first is the document.
    private var tables = [Table(origin: .header, line: 1, depth: 0)]
    /// So many headers were read.
    private var section = 0

    /// Makes a table.
    private mutating func add(_ origin: Origin, in parent: Int, line: Int) throws(TOMLError) -> Int {
        let depth = tables[parent].depth + 1
        guard depth < TOMLValue.maximumDepth else { throw Self.tooDeep(line) }
        tables.append(Table(origin: origin, line: line, depth: depth))
        return tables.count - 1
    }

    static func tooDeep(_ line: Int) -> TOMLError {
        TOMLError(line: line, description: "tables and lists are nested more than \(TOMLValue.maximumDepth) deep")
    }

    /// How deep a member of a table stands.
    func depth(ofMembersOf table: Int) -> Int { tables[table].depth + 1 }

    /// `[key.key]`: the table that the following lines are in.
    mutating func open(_ keys: [String], line: Int) throws(TOMLError) -> Int {
        section += 1
        let parent = try descend(keys.dropLast(), line)
        let name = keys[keys.count - 1]
        switch tables[parent].members[name]?.member {
        case nil:
            let table = try add(.header, in: parent, line: line)
            tables[parent].members[name] = (.table(table), line)
            return table
        case .table(let table) where tables[table].origin == .implied:
            tables[table].origin = .header
            return table
        default:
            throw TOMLError(line: line, description: "'\(keys.joined(separator: "."))' is there already")
        }
    }

    /// `[[key.key]]`: one more table in an array.
    mutating func append(_ keys: [String], line: Int) throws(TOMLError) -> Int {
        section += 1
        let parent = try descend(keys.dropLast(), line)
        let name = keys[keys.count - 1]
        let table = try add(.header, in: parent, line: line)
        switch tables[parent].members[name] {
        case nil: tables[parent].members[name] = (.tables([table]), line)
        case (.tables(var elements), let first)?:
            // The dictionary lets go of the array first: appending would copy all of it otherwise.
            tables[parent].members[name] = nil
            elements.append(table)
            tables[parent].members[name] = (.tables(elements), first)
        default:
            throw TOMLError(
                line: line,
                description: "'\(keys.joined(separator: "."))' is there already, and is no list of [[...]] tables")
        }
        return table
    }

    /// The table that the leading keys of a header name.
    private mutating func descend(_ keys: ArraySlice<String>, _ line: Int) throws(TOMLError) -> Int {
        var table = 0
        for key in keys {
            switch tables[table].members[key]?.member {
            case nil:
                let next = try add(.implied, in: table, line: line)
                tables[table].members[key] = (.table(next), line)
                table = next
            case .table(let next): table = next
            case .tables(let elements): table = elements[elements.count - 1]
            case .value: throw TOMLError(line: line, description: "'\(key)' is a value, to which nothing can be added")
            }
        }
        return table
    }

    /// `key.key = value` in a table.
    mutating func set(_ keys: [String], to value: TOMLValue, in start: Int) throws(TOMLError) {
        var table = start
        for key in keys.dropLast() {
            switch tables[table].members[key]?.member {
            case nil:
                let next = try add(.dotted(section: section), in: table, line: value.line)
                tables[table].members[key] = (.table(next), value.line)
                table = next
            case .table(let next)
            where tables[next].origin == .implied || tables[next].origin == .dotted(section: section):
                tables[next].origin = .dotted(section: section)
                table = next
            default:
                throw TOMLError(
                    line: value.line, description: "'\(key)' is there already, and nothing can be added to it here")
            }
        }
        let name = keys[keys.count - 1]
        guard tables[table].members[name] == nil else {
            throw TOMLError(line: value.line, description: "'\(name)' is there already")
        }
        tables[table].members[name] = (.value(value), value.line)
    }

    /// A table with all that is in it.
    func value(of number: Int = 0, line: Int? = nil) -> TOMLValue {
        let members = tables[number].members.mapValues { member, line in
            switch member {
            case .value(let value): value
            case .table(let table): value(of: table, line: line)
            case .tables(let elements): TOMLValue(.array(elements.map { value(of: $0) }), line: line)
            }
        }
        return TOMLValue(.table(members), line: line ?? tables[number].line)
    }
}
