#!/usr/bin/env node
/** The command line `tidegate`. The engine starts it too, as `supervise`, to hold services. */

import { native } from './native.js'

const args = process.argv.slice(2)
if (args[0] === 'supervise') {
  // Node's own handlers raise the signal again, trusting that they are the last to be asked. The supervisor's, which
  // come after them and hand on, would be asked for ever; so Node's give way to ones that do nothing.
  process.on('SIGTERM', () => undefined)
  process.on('SIGINT', () => undefined)
}
process.exitCode = native.commandLine(['tidegate', ...args])
