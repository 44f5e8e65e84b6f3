// How the bytes of a connection are received: all that come, or no more than what is waited for.

/// The ways of receiving. A connection has one at a time.
enum Receiving {
    /// As they come, into provided buffers: one receive for many requests.
    case asTheyCome
    /// The same, until what the ring has begun has ended.
    case ending
    /// No more than what is waited for, a header or a payload, so that a payload stays in the socket until there is a
    /// place for it. The ring says when the socket has something (POLLIN).
    case exactly
}
