// What an engine leaves in its host: see tests/loops/src/bin/guest.rs.
import { readdirSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'

function look() {
  const status = readFileSync('/proc/self/status', 'utf8')
  const field = (name) => status.match(new RegExp(`^${name}:\\s*(\\S+)`, 'm'))[1]
  return {
    threads: Number(field('Threads')),
    files: readdirSync('/proc/self/fd').length - 1,
    handlers: field('SigCgt'),
    rss: Number(field('VmRSS')),
    cwd: process.cwd(),
    environment: Object.keys(process.env).length,
  }
}

const [, , journal, count] = process.argv
const runs = Number(count)
await sleep(50)
const before = look()
const { Engine, Pipeline } = await import('../../bindings-node/dist/index.js')
const pipeline = new Pipeline('guest')
const hello = pipeline.shell('hello', 'echo hello', { output: 'text' })
pipeline.step('length', { inputs: [hello] }, (_, text) => text.length)
const working = []
const engine = await Engine.open(journal)
for (let run = 0; run < runs; run += 1) {
  const outcome = await engine.run(pipeline)
  outcome.ok()
  if ([0, Math.floor(runs / 2), runs - 1].includes(run)) {
    working.push(look())
  }
}
await engine.close()
console.log(JSON.stringify({ before, working, after: look() }))
