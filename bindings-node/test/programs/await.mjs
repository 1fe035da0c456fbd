// Ends by itself: mode `await` waits for a run of half a second, `forget` starts one and waits for nothing.
import { join } from 'node:path'
import { Engine, Pipeline } from '../../dist/index.js'

const [, , dir, mode] = process.argv
const p = new Pipeline('p')
p.shell('a', `sleep 0.5; echo ran > ${join(dir, 'ran')}`)
const engine = await Engine.open(join(dir, 'journal.db'))
const run = await engine.start(p, { key: 'k' })
if (mode === 'await') {
  console.log((await run.outcome()).status)
}
if (mode === 'exit') {
  process.exit(7)
}
if (mode === 'throw') {
  throw new Error('thrown by the program')
}
