// `steps.mjs CONTESTANT ARGUMENTS…`: a work of tests/bench from Node; prints microseconds a step.
import { createRequire } from 'node:module'
import { join } from 'node:path'

const nothing = () => {}
const require = createRequire(import.meta.url)
// Where the peers are, and our package.
const { BENCH_PEERS: peers, BENCH_PACKAGE: ours } = process.env

// As in tests/bench/ours/src/shape.rs.
function needs(shape, steps) {
  return Array.from({ length: steps }, (_, i) => {
    if (shape === 'chain') return i > 0 ? [i - 1] : []
    return i === steps - 1 ? Array.from({ length: i }, (_, k) => k) : []
  })
}

async function timed(work) {
  const started = process.hrtime.bigint()
  await work()
  return Number(process.hrtime.bigint() - started) / 1e3
}

const contestants = {
  async memory(shape, steps) {
    const { Engine, Pipeline } = await import(ours)
    const pipeline = new Pipeline('bench', { maxParallel: steps })
    const made = []
    needs(shape, steps).forEach((before, i) => {
      made.push(pipeline.step(`step-${i}`, { after: before.map((need) => made[need]) }, nothing))
    })
    const engine = await Engine.open('unused.db', { durability: 'memory' })
    const took = await timed(async () => (await engine.run(pipeline)).ok())
    await engine.close()
    return took
  },
  async 'p-graph'(shape, steps) {
    const { PGraph } = require(join(peers, 'node_modules/p-graph'))
    const nodes = Object.fromEntries(Array.from({ length: steps }, (_, i) => [`step-${i}`, { run: nothing }]))
    const edges = needs(shape, steps).flatMap((before, i) => before.map((need) => [`step-${need}`, `step-${i}`]))
    return timed(() => new PGraph(nodes, edges).run())
  },
  // A thread calls a function and waits for its answer before it calls again.
  async 'round-trip'(_, steps) {
    const { roundTrips } = require(join(peers, 'bench-peers.node'))
    return timed(() => new Promise((resolve) => roundTrips(steps, nothing, resolve)))
  },
}

const [, , name, shape, steps] = process.argv
console.log((await contestants[name](shape, Number(steps))) / Number(steps))
