// Tests of the room Sandbox.

import Testing
