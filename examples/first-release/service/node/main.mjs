// A small shop: `HOST=127.0.0.1 PORT=8080 node main.mjs` in a folder that build.mjs made. See the README beside it.

import { createServer } from 'node:http'

import { Shop } from './shop.mjs'
import { VERSION } from './version.js'

const MAX_BODY_BYTES = 64 * 1024
const FINISH_MS = 10_000

const shop = new Shop(VERSION)
let stopping = false

function send(response, status, answer, close) {
  const body = JSON.stringify(answer)
  response.writeHead(status, {
    'Content-Type': 'application/json',
    'Content-Length': Buffer.byteLength(body),
    'X-Version': VERSION,
    ...(close || stopping ? { Connection: 'close' } : {}),
  })
  response.end(body)
}

const server = createServer({ noDelay: true, keepAliveTimeout: 75_000 }, (request, response) => {
  const parts = []
  let size = 0
  request.on('data', (part) => {
    size += part.length
    if (size <= MAX_BODY_BYTES) parts.push(part)
    else if (!response.headersSent) send(response, 413, { error: 'the body is too large' }, true)
  })
  request.on('end', () => {
    if (!response.headersSent) send(response, ...shop.answer(request.method, request.url, Buffer.concat(parts).toString()))
  })
  request.on('error', (error) => console.error(`shop: ${error.message}`))
})

function stop() {
  if (stopping) return
  stopping = true
  // Takes no more connections, ends idle ones, and calls back when the last request has ended.
  server.close(() => clearTimeout(late))
  const late = setTimeout(() => {
    console.error('shop: requests did not end in time')
    process.exitCode = 1
    server.closeAllConnections()
  }, FINISH_MS)
}

process.on('SIGTERM', stop)
process.on('SIGINT', stop)
server.on('error', (error) => {
  console.error(`shop: ${error.message}`)
  process.exitCode = 1
})
server.listen(Number(process.env.PORT ?? 8080), process.env.HOST ?? '127.0.0.1', () => {
  const { address, port } = server.address()
  console.log(`shop ${VERSION} listens on ${address}:${port}`)
})
