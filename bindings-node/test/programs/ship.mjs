// Ships v1, and then v2 up to a promotion that nobody gives. Arguments: the folder, the port, the server's program.
import { join } from 'node:path'
import { blueGreen, Engine, Pipeline } from '../../dist/index.js'

const [, , dir, port, shop] = process.argv

function shipping(version, promote) {
  const p = new Pipeline('release')
  const command = [process.execPath, '-e', shop]
  const release = p.step('release', () => ({ version, command, env: { VERSION: version } }))
  const serve = { listen: `127.0.0.1:${port}`, replicas: 1, drain: '1s' }
  const ship = p.rollout('ship', blueGreen('shop', { serve, promote, keepOld: '0s' }), { release })
  p.step('announce', { after: [ship] }, () => undefined)
  p.command('tidy', ['touch', join(dir, `tidied-${version}`)], { cleanup: true })
  p.step('report', { cleanup: true }, () => undefined)
  return p
}

const engine = await Engine.open(join(dir, 'journal.db'))
await engine.run(shipping('v1', 'auto'), { key: 'v1' })
const run = await engine.start(shipping('v2', 'manual'), { key: 'v2' })
for await (const event of run) {
  if (event.kind === 'rollout' && event.event.kind === 'move_began' && event.event.step.gate?.kind === 'approval') {
    console.log(`waits ${run.id}.`)
  }
}
