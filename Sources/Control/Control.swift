// The control socket: HTTP with JSON.
