/**
 * The mathematics of the audit log once more, in the browser: whoever checks must not ask the server
 * whether the server is right. RFC 9162 §2.1 (SHA-256), C2SP signed-note and tlog-checkpoint
 * (Ed25519), RFC 8785. The formats are told in docs/reference/audit.md.
 */

/**
 * What `GET /api/v1/audit/proof/{id}` answers.
 * @typedef {{ readonly id: string, readonly seq: number, readonly leaf: string, readonly size: number, readonly path: readonly string[], readonly checkpoint: string, readonly row: any }} Proof
 */
/** @typedef {{ readonly name: string, readonly id: string, readonly bytes: Uint8Array<ArrayBuffer> }} VerifierKey */
/** @typedef {{ readonly origin: string, readonly size: number, readonly root: string }} Checkpoint */
/** @typedef {{ readonly from: number, readonly fromRoot: string, readonly to: number, readonly toRoot: string, readonly path: readonly string[] }} Growth */

const ed25519 = 1
const utf8 = new TextEncoder()

/**
 * Why this browser cannot check anything, or null when it can.
 * @returns {string | null}
 */
export function cannotVerify() {
  return globalThis.crypto?.subtle === undefined
    ? 'Browsers do cryptography only on pages that came over HTTPS, or from this machine itself.'
    : null
}

/** JSON with sorted keys and no spaces (RFC 8785). @param {any} value @returns {string} */
export function canonicalJson(value) {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  const members = Object.keys(value)
    .filter((key) => value[key] !== undefined)
    .sort()
    .map((key) => `${JSON.stringify(key)}:${canonicalJson(value[key])}`)
  return `{${members.join(',')}}`
}

/** @param {Uint8Array<ArrayBuffer>} bytes @returns {Promise<string>} in hexadecimal */
async function sha256(bytes) {
  return toHex(new Uint8Array(await crypto.subtle.digest('SHA-256', bytes)))
}

/** The leaf of one row: over its canonical JSON. @param {any} row */
export function leafOf(row) {
  return sha256(utf8.encode(`\0${canonicalJson(row)}`))
}

/** @param {string} left @param {string} right */
function nodeOf(left, right) {
  return sha256(fromHex(`01${left}${right}`))
}

/**
 * The ranges whose hashes lead from a leaf to the root, the deepest first.
 * @param {number} index @param {number} size
 */
function inclusionRanges(index, size) {
  /** @type {{ start: number, end: number }[]} */
  const ranges = []
  let [start, end] = [0, size]
  while (end - start > 1) {
    const middle = start + splitOf(end - start)
    if (index < middle) {
      ranges.push({ start: middle, end })
      end = middle
    } else {
      ranges.push({ start, end: middle })
      start = middle
    }
  }
  return ranges.reverse()
}

/** @param {number} from @param {number} to */
function consistencyRanges(from, to) {
  /** @type {{ start: number, end: number }[]} */
  const ranges = []
  let [start, end] = [0, to]
  while (from < end) {
    const middle = start + splitOf(end - start)
    if (from <= middle) {
      ranges.push({ start: middle, end })
      end = middle
    } else {
      ranges.push({ start, end: middle })
      start = middle
    }
  }
  if (start > 0) ranges.push({ start, end })
  return ranges.reverse()
}

/** The largest power of two below `n`, which is at least 2. @param {number} n */
function splitOf(n) {
  let power = 1
  while (power * 2 < n) power *= 2
  return power
}

/**
 * @param {string} leaf @param {number} index @param {number} size @param {readonly string[]} path
 * @returns {Promise<string | null>} the root; null when the path has another length than the place asks for
 */
export async function rootFromInclusion(leaf, index, size, path) {
  if (!(Number.isSafeInteger(size) && Number.isSafeInteger(index) && index >= 0 && index < size))
    return null
  const ranges = inclusionRanges(index, size)
  if (ranges.length !== path.length || !path.every(isHash)) return null
  let node = leaf
  for (const [i, { start }] of ranges.entries()) {
    const sibling = /** @type {string} */ (path[i])
    node = start > index ? await nodeOf(node, sibling) : await nodeOf(sibling, node)
  }
  return node
}

/** Whether the newer tree is the older one, grown. @param {Growth} growth */
export async function isConsistent({ from, fromRoot, to, toRoot, path }) {
  if (!(Number.isSafeInteger(to) && from > 0 && from <= to) || !path.every(isHash)) return false
  if (from === to) return path.length === 0 && fromRoot === toRoot
  const ranges = consistencyRanges(from, to)
  if (ranges.length !== path.length) return false
  const first = /** @type {{ start: number, end: number }} */ (ranges[0])
  // A subtree inside of both trees is where the climb starts; else it starts from the old root.
  const startsInside = first.end === from && first.start > 0
  let older = startsInside ? /** @type {string} */ (path[0]) : fromRoot
  let newer = older
  for (let i = startsInside ? 1 : 0; i < path.length; i++) {
    const sibling = /** @type {string} */ (path[i])
    const { start } = /** @type {{ start: number }} */ (ranges[i])
    if (start >= from) newer = await nodeOf(newer, sibling)
    else {
      older = await nodeOf(sibling, older)
      newer = await nodeOf(sibling, newer)
    }
  }
  return older === fromRoot && newer === toRoot
}

/**
 * A public key as note verifiers write it: `<name>+<id>+<base64>`.
 * @param {string} text
 * @returns {Promise<VerifierKey | null>}
 */
export async function parseKey(text) {
  const m = /^([^\s+]+)\+([0-9a-f]{8})\+(\S+)$/.exec(text.trim())
  const key = m ? fromBase64(/** @type {string} */ (m[3])) : null
  if (!m || key?.length !== 33 || key[0] !== ed25519) return null
  const name = /** @type {string} */ (m[1])
  const hash = await sha256(joined(utf8.encode(`${name}\n`), key))
  return hash.slice(0, 8) === m[2] ? { name, id: m[2], bytes: key.slice(1) } : null
}

/**
 * Reads a note and checks the signature of this key on it; those of others are passed over.
 * @param {string} note @param {VerifierKey} key
 * @returns {Promise<Checkpoint | string>} the checkpoint, or in words what is wrong with it
 */
export async function openCheckpoint(note, key) {
  const end = note.indexOf('\n\n')
  if (end < 0 || !note.endsWith('\n')) return 'It is not a signed note.'
  const text = note.slice(0, end + 1)
  const [origin, size, root] = text.split('\n')
  const hash = fromBase64(root ?? '')
  if (!origin || !/^(0|[1-9]\d{0,15})$/.test(size ?? '') || hash?.length !== 32)
    return 'It is not a checkpoint.'
  const publicKey = await crypto.subtle.importKey('raw', key.bytes, 'Ed25519', false, ['verify'])
  let isSigned = false
  for (const line of note.slice(end + 2, -1).split('\n')) {
    const m = /^— (\S+) (\S+)$/.exec(line)
    if (m === null) return 'It is not a signed note.'
    const blob = m[1] === key.name ? fromBase64(/** @type {string} */ (m[2])) : null
    if (blob?.length !== 68 || toHex(blob.slice(0, 4)) !== key.id) continue
    const signature = blob.slice(4)
    isSigned ||= await crypto.subtle.verify('Ed25519', publicKey, signature, utf8.encode(text))
  }
  if (!isSigned) return `It is not signed by ${key.name}+${key.id}.`
  if (origin !== key.name) return `It is about the log ${origin}, not ${key.name}.`
  return { origin, size: Number(size), root: toHex(hash) }
}

/**
 * @typedef {{ readonly what: string, readonly isGood: boolean, readonly detail: string }} Step
 * @typedef {{ readonly steps: readonly Step[], readonly checkpoint: Checkpoint | null, readonly isGood: boolean }} Verdict
 */

/**
 * From a row to a signature, one step after the other; the first one that does not hold ends it.
 * @param {Proof} proof @param {VerifierKey} key
 * @returns {Promise<Verdict>}
 */
export async function verifyProof(proof, key) {
  /** @type {Step[]} */
  const steps = []
  /** @param {string} what @param {boolean} isGood @param {string} detail */
  const step = (what, isGood, detail) => {
    steps.push({ what, isGood, detail })
    return isGood
  }
  const verdict = (/** @type {Checkpoint | null} */ checkpoint) => ({
    steps,
    checkpoint,
    isGood: checkpoint !== null && steps.every((s) => s.isGood),
  })
  const leaf = await leafOf(proof.row)
  const isSame = leaf === proof.leaf && proof.row?.id === proof.id
  if (!step('The hash of the entry, made here, is its leaf', isSame, leaf)) return verdict(null)
  const opened = await openCheckpoint(proof.checkpoint, key)
  if (typeof opened === 'string') {
    step('The checkpoint bears a good signature', false, opened)
    return verdict(null)
  }
  step('The checkpoint bears a good signature', true, `${key.name}+${key.id}`)
  const root = await rootFromInclusion(leaf, proof.seq, opened.size, proof.path)
  step(
    `The leaf leads to the signed root of ${opened.size} entries`,
    root === opened.root,
    `place ${proof.seq}, ${proof.path.length} hashes, root ${root ?? 'none: the path has a wrong length'}`,
  )
  return verdict(opened)
}

/** @param {unknown} text */
function isHash(text) {
  return typeof text === 'string' && /^[0-9a-f]{64}$/.test(text)
}

/** @param {Uint8Array} bytes */
function toHex(bytes) {
  return Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join('')
}

/** @param {string} text */
function fromHex(text) {
  return Uint8Array.from(text.match(/../g) ?? [], (pair) => parseInt(pair, 16))
}

/** @param {Uint8Array} a @param {Uint8Array} b */
function joined(a, b) {
  const all = new Uint8Array(a.length + b.length)
  all.set(a)
  all.set(b, a.length)
  return all
}

/** Only what encodes back to the same text. @param {string} text @returns {Uint8Array<ArrayBuffer> | null} */
function fromBase64(text) {
  try {
    const binary = atob(text)
    if (binary === '' || btoa(binary) !== text) return null
    return Uint8Array.from(binary, (c) => c.charCodeAt(0))
  } catch {
    return null
  }
}
