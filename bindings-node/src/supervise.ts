/** The program that the engine starts to hold services: `node supervise.js <folder>`. It ends when it holds nothing. */

import { errorFrom } from './errors.js'
import { native } from './native.js'

const [, , folder] = process.argv
if (folder === undefined) {
  console.error('usage: node supervise.js <folder>')
  process.exit(2)
}
// Node's own handlers raise the signal again, trusting that they are the last to be asked. The supervisor's, which come
// after them and hand on, would be asked for ever; so Node's give way to ones that do nothing.
process.on('SIGTERM', () => undefined)
process.on('SIGINT', () => undefined)
const fault = native.supervise(folder)
if (fault !== null) {
  console.error(errorFrom(fault.error).message)
  process.exit(1)
}
