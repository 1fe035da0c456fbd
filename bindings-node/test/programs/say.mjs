// Says something to a run from a process of its own. Arguments: the journal, the run, the verb, the step.
import { Reader } from '../../dist/index.js'

const [, , path, run, verb, step] = process.argv
const reader = await Reader.open(path)
await reader[verb](run, step, { by: 'operator', reason: 'worse' })
await reader.close()
