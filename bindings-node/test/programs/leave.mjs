// Ends without closing as soon as its step runs: mode `exit`, `throw` or `reject`.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Engine, Pipeline } from '../../dist/index.js'

const [, , dir, mode] = process.argv
const p = new Pipeline('p')
p.shell('a', `echo $$ > ${join(dir, 'part')}; mv ${join(dir, 'part')} ${join(dir, 'pid')}; sleep 600`)
const engine = await Engine.open(join(dir, 'journal.db'))
const run = await engine.start(p, { key: 'k' })
while (!existsSync(join(dir, 'pid'))) {
  await sleep(5)
}
if (mode === 'exit') {
  process.exit(7)
}
if (mode === 'throw') {
  setTimeout(() => {
    throw new Error('thrown by the program')
  })
  await run.outcome()
}
throw new Error('thrown by the program')
