// Tests of the room Control.

import Testing
