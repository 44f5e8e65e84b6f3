// Tests of the room Settings.

import Testing
