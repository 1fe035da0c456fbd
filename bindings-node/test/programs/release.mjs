// A pipeline whose steps write what they did to files of `dir`. Arguments: the folder, what to do in the middle.
//   hang: the middle step never ends; ask: it is marked `once` and hangs; go: it ends.
import { appendFileSync } from 'node:fs'
import { join } from 'node:path'
import { Engine, Pipeline } from '../../dist/index.js'

const [, , dir, mode] = process.argv
const note = (name, text) => appendFileSync(join(dir, name), `${text}\n`)

const p = new Pipeline('release')
const first = p.step('first', () => {
  note('first', 'ran')
  return { n: 7 }
})
const middle = p.step('middle', { inputs: [first], once: process.argv[4] === 'once' }, async (ctx, { n }) => {
  note('middle', JSON.stringify({ attempt: ctx.attempt, token: ctx.token, key: ctx.idempotencyKey, n }))
  if (mode === 'hang') {
    console.log('in the middle')
    await new Promise(() => setInterval(() => undefined, 1000))
  }
  return n * 2
})
p.step('last', { inputs: [middle] }, (_, n) => note('last', n))

const engine = await Engine.open(join(dir, 'journal.db'))
const run = await engine.start(p, { key: 'v1' })
let outcome = await run.outcome()
if (outcome.status === 'asking' && mode === 'answer') {
  console.log(`asks: ${outcome.steps.middle.reason}`)
  await run.resolve(middle, { done: 100 }, { by: 'the test' })
  outcome = await run.outcome()
}
console.log(outcome.status)
await engine.close()
