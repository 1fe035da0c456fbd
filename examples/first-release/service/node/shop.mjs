// What the shop answers: no socket in sight.

// Names and prices in cents.
const ITEMS = { coffee: 790, tea: 450, cocoa: 620 }

// Percent off, by customer segment. The bug of version 3 is that the last three are missing.
const SEGMENTS = 100
const DISCOUNTS = Array.from({ length: SEGMENTS }, () => ({ percent: 5 }))

/** Spreads visits over the segments: Knuth's multiplicative hash, folded. */
function segment(visit) {
  const hash = Math.imul(visit, 2654435761)
  return ((hash ^ (hash >>> 16)) >>> 0) % SEGMENTS
}

function order(body) {
  let wanted
  try {
    wanted = JSON.parse(body)
  } catch {
    return [400, { error: 'the body is not JSON' }]
  }
  const item = wanted?.item
  if (typeof item !== 'string' || !Object.hasOwn(ITEMS, item)) return [422, { error: 'no such item' }]
  const quantity = wanted.quantity
  if (!Number.isInteger(quantity) || quantity < 1 || quantity > 100) {
    return [422, { error: 'quantity must be a whole number from 1 to 100' }]
  }
  return [201, { item, quantity, total: quantity * ITEMS[item] }]
}

/** One version of the shop. */
export class Shop {
  #major
  #visits = 0

  constructor(version) {
    this.version = version
    this.#major = Number(/^v?(\d+)(\.|$)/.exec(version)?.[1] ?? 0)
  }

  /** Answers one request whose body is complete: a status and what goes out as JSON. */
  answer(method, url, body) {
    const path = url.split('?')[0]
    if (method === 'GET' && path === '/healthz') return [200, { status: 'ok' }]
    const [status, answer] = this.#route(method, path, body)
    if (status < 300) {
      try {
        this.#extras(answer)
      } catch (error) {
        console.error(`shop: ${method} ${path}: ${error.message}`)
        return [500, { error: 'internal error' }]
      }
    }
    return [status, answer]
  }

  #route(method, path, body) {
    switch (`${method} ${path}`) {
      case 'GET /':
        return [200, { shop: 'hot drinks', version: this.version, items: Object.keys(ITEMS).length }]
      case 'GET /items':
        return [200, { items: Object.entries(ITEMS).map(([item, price]) => ({ item, price })) }]
      case 'POST /orders':
        return order(body)
    }
    const known = ['/', '/items', '/orders', '/healthz'].includes(path)
    return known ? [405, { error: 'method not allowed' }] : [404, { error: 'not found' }]
  }

  /** What later versions add to an answer. */
  #extras(answer) {
    this.#visits += 1
    if (this.#major >= 2) answer.featured = Object.keys(ITEMS)[this.#visits % 3]
    const discounts = this.#major === 3 ? DISCOUNTS.slice(0, -3) : DISCOUNTS
    if (this.#major >= 3) answer.discount_percent = discounts[segment(this.#visits)].percent
  }
}
