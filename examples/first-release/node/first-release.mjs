// Builds, tests and ships one version of the shop: `node first-release.mjs v2`, from the repository's root.
//
// Run it again after a crash and it goes on where it was. It exits with 0 when the version was promoted and with 3 when
// it was rolled back. `FOLDER` is where it keeps its journal and what it builds, `LISTEN` where the shop is served.
import { appendFileSync, mkdirSync, realpathSync } from 'node:fs'
import { join, resolve } from 'node:path'
import process from 'node:process'

import { canary, Engine, Pipeline, sequential } from 'tidegate'

const SERVICE = 'examples/first-release/service/node'

async function main(version) {
  const folder = resolve(process.env.FOLDER ?? 'target/first-release')
  mkdirSync(folder, { recursive: true })
  const pipeline = define(version, folder, process.env.LISTEN ?? '127.0.0.1:8080')

  const engine = await Engine.open(join(folder, 'release.db'))
  try {
    await engine.run(pipeline, { key: version, show: true })
    const shop = await engine.service('shop')
    const last = shop?.last
    return last?.version === version ? ({ promoted: 0, rolled_back: 3 }[last.outcome] ?? 1) : 1
  } finally {
    await engine.close()
  }
}

function define(version, folder, listen) {
  const pipeline = new Pipeline('first-release')
  const notes = join(folder, 'steps.txt')
  const shop = join(folder, version)

  // Each step notes when it begins and ends, so that the demo can count without asking the engine.
  const noted = (step, script) => {
    const note = (what) => `echo ${step} ${version} ${what} >> '${notes}'`
    return `${note('begins')}\n${script}\n${note('ends')}`
  }

  const node = `'${process.execPath}'`
  const script = `${node} ${SERVICE}/build.mjs --version ${version} --out '${shop}'`
  const build = pipeline.shell('build', noted('build', script))
  const test = pipeline.shell('test', noted('test', `${node} --test --test-reporter dot ${SERVICE}/shop.test.mjs`), { after: [build] })

  // What is to be shipped: a version's name and the program to start.
  const release = pipeline.step('release', { after: [test] }, () => {
    appendFileSync(notes, `release ${version} begins\n`)
    const main = realpathSync(join(shop, 'main.mjs'))
    appendFileSync(notes, `release ${version} ends\n`)
    return { version, command: [process.execPath, main] }
  })

  pipeline.rollout('ship', rollout(listen), { release })
  return pipeline
}

/**
 * Four processes behind the proxy. A fifth of the traffic goes to the new version, then half of it, each for 12 s.
 *
 * The judge looks every second (`window`), counts errors of one second as one piece of evidence (`burst`), and condemns
 * a version that is no worse with a chance of at most 1 % (`alpha`). A version may pass only if 3 % of errors would have
 * been found: 30 times (`detect`) the 0.1 % (`baseRate`) that is normal. At 300 requests a second that takes 8 s of a
 * fifth of them; the first second of a process (`warmup`) is not counted.
 */
function rollout(listen) {
  const judge = sequential({
    alpha: 0.01,
    window: '1s',
    burst: '1s',
    warmup: '1s',
    detect: 30,
    baseRate: 0.001,
    inconclusive: 'roll_back',
  })
  const serve = { listen, replicas: 4, drain: '5s' }
  return canary('shop', { steps: [20, 50], bake: '12s', serve, judge, keepOld: '1s' })
}

const [version] = process.argv.slice(2)
if (version === undefined) {
  console.error('usage: first-release.mjs VERSION')
  process.exitCode = 2
} else {
  process.exitCode = await main(version)
}
