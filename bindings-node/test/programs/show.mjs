// Runs a pipeline and shows it. Argument: the folder.
import { join } from 'node:path'
import { Engine, Pipeline } from '../../dist/index.js'

const [, , dir] = process.argv
const p = new Pipeline('p')
const work = p.shell('work', "echo '::compiling a thing'; until [ -e go ]; do sleep 0.05; done; echo done", { dir })
p.step('count', { after: [work] }, () => {
  throw new Error('no number')
})
const engine = await Engine.open(join(dir, 'journal.db'))
const outcome = await engine.run(p, { key: 'k', show: true })
const again = await engine.start(p, { key: 'k' })
console.log(outcome.status, (await again.outcome()).status)
await engine.close()
