/** The program that the engine starts to hold services: `node supervise.js <folder>`. It ends when it holds nothing. */

import { errorFrom } from './errors.js'
import { native } from './native.js'

const [, , folder] = process.argv
if (folder === undefined) {
  console.error('usage: node supervise.js <folder>')
  process.exit(2)
}
const fault = native.supervise(folder)
if (fault !== null) {
  console.error(errorFrom(fault.error).message)
  process.exit(1)
}
