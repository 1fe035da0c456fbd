// Runs until Ctrl-C. Argument: the folder, and whether the cleanup step hangs.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Engine, Pipeline } from '../../dist/index.js'

const [, , dir, mode] = process.argv
const p = new Pipeline('p')
p.step('long', (ctx) => {
  console.log('begun')
  return new Promise((_, reject) => ctx.signal.addEventListener('abort', () => reject(ctx.signal.reason)))
})
p.step('sweep', { cleanup: true }, async () => {
  console.log('sweeping')
  if (mode === 'hang') {
    await new Promise(() => undefined)
  }
  writeFileSync(join(dir, 'swept'), '')
})
const engine = await Engine.open(join(dir, 'journal.db'))
const before = process.listenerCount('SIGINT')
const outcome = await engine.run(p, { key: 'k', ctrlC: true })
console.log(`${outcome.status}, ${process.listenerCount('SIGINT') - before} listeners left`)
await engine.close()
