// What a long time of all kinds of runs does to the host's memory and files: prints a look at every tenth of the time.
// `node --expose-gc soak.mjs JOURNAL SECONDS`: what waits to be collected is no leak.
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { Check, Engine, Pipeline, Reader } from '../../bindings-node/dist/index.js'

const LOOKS = 10
/** How many rounds are run at least, however slow the machine is. */
const LEAST = 200

const passing = new Pipeline('passing')
const hello = passing.shell('hello', 'echo hello', { output: 'text' })
passing.step('length', { inputs: [hello] }, (_, text) => text.length)
const quick = new Pipeline('quick')
quick.step('one', () => 1)
const failing = new Pipeline('failing')
failing.step('fails', () => {
  throw new Error('on purpose')
})
const endless = new Pipeline('endless')
endless.shell('hangs', 'sleep 600')

/**
 * Twenty quick runs, one with a command, and one that fails; in one of ten rounds also one that is cancelled in the
 * middle, events that are not read to their end, a reader as another process would have, a check, and a second engine on
 * a second journal.
 */
async function round(engine, journal, number) {
  const ended = await engine.start(passing)
  ;(await ended.outcome()).ok()
  const failed = await engine.start(failing)
  await failed.outcome()
  const gone = [ended.id, failed.id]
  for (let i = 0; i < 20; i += 1) {
    const run = await engine.start(quick)
    ;(await run.outcome()).ok()
    gone.push(run.id)
  }
  if (number % 10 === 0) {
    const run = await engine.start(endless)
    for await (const _ of run) {
      break
    }
    await run.cancel({ reason: 'soak' })
    await run.outcome()
    gone.push(run.id)
    const reader = await Reader.open(journal)
    await reader.runs({ limit: 10 })
    await reader.close()
    // A new one each time: an engine takes more memory to open a journal of more runs.
    const folder = mkdtempSync(`${journal}-`)
    const other = await Engine.open(`${folder}/second.db`, { durability: 'relaxed' })
    ;(await other.run(passing)).ok()
    await other.close()
    rmSync(folder, { recursive: true })
    const watch = new Check(() => undefined, { interval: '1ms' }).watch()
    for await (const _ of watch) {
      break
    }
  }
  for (const id of gone) {
    await engine.prune(id)
  }
}

function look(rounds) {
  globalThis.gc()
  const status = readFileSync('/proc/self/status', 'utf8')
  const field = (name) => Number(status.match(new RegExp(`^${name}:\\s*(\\d+)`, 'm'))[1])
  return { rounds, threads: field('Threads'), files: readdirSync('/proc/self/fd').length - 1, rss: field('VmRSS') }
}

const [, , journal, seconds] = process.argv
const engine = await Engine.open(journal, { durability: 'relaxed' })
const looks = []
const begun = Date.now()
for (let rounds = 1; looks.length < LOOKS; rounds += 1) {
  await round(engine, journal, rounds)
  const next = looks.length + 1
  if ((Date.now() - begun) * LOOKS >= seconds * 1000 * next && rounds * LOOKS >= LEAST * next) {
    looks.push(look(rounds))
  }
}
await engine.close()
console.log(JSON.stringify(looks))
