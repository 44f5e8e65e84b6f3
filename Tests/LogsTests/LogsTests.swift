// Tests of the room Logs.

import Testing
