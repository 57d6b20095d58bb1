import { describe, expect, it } from 'vitest'
import { errors } from '../../src/domain/errors.ts'
import { Secret } from '../../src/domain/secret.ts'
import { mintToken } from '../../src/domain/token.ts'
import { createLog } from '../../src/host/log.ts'

function capture(pretty = false) {
  const lines: string[] = []
  const log = createLog({ level: 'info', pretty, write: (line) => lines.push(line) })
  return { log, lines, last: () => JSON.parse(lines.at(-1)!) as Record<string, unknown> }
}

describe('the log', () => {
  it('writes one JSON line per event, with level, time and facts', () => {
    const { log, lines, last } = capture()

    log.info({ account: 'a1' }, 'rotated\nand more')
    log.debug({}, 'unseen')

    expect(lines).toHaveLength(1)
    expect(lines[0]).toMatch(/^[^\n]+\n$/)
    expect(last()).toMatchObject({ level: 'info', account: 'a1', msg: 'rotated\nand more' })
    expect(Date.parse(last()['time'] as string)).not.toBeNaN()
  })

  it('reduces an error of a client library to name, code, message and frames', () => {
    const { log, lines, last } = capture()
    const error = Object.assign(new Error('Access denied'), {
      code: 'AccessDenied',
      $response: { headers: { authorization: 'hunter2' } },
      request: { body: 'hunter2' },
      cause: Object.assign(new Error('inner'), { body: 'hunter2' }),
    })

    log.error({ err: error, operation: 'o1' }, 'issue failed')
    log.error({ steps: [{ error }], deep: { inside: { error } } }, 'issue failed')
    log.error({ reason: error }, 'issue failed')

    expect(lines.join()).not.toContain('hunter2')
    expect(last()).toMatchObject({
      reason: { name: 'Error', code: 'AccessDenied', cause: { message: 'inner' } },
    })
  })

  it('shows no frames for a fact about the world', () => {
    const { log, last } = capture()

    log.warn({ err: errors.tokenLimit({ limit: 3 }) }, 'refused')

    expect(last()['err']).toEqual({
      name: 'AppError',
      code: 'tokenLimit',
      message: 'This client already has 3 live tokens; revoke one first.',
    })
  })

  it('never writes a secret, nor a token that slipped into a text', () => {
    const { log, lines } = capture()
    const { id, token } = mintToken('csk')
    const text = token.use(String)

    log.info({ secret: Secret.ofText('hunter2'), note: `got ${text}` }, `token ${text}`)
    log.info({ err: new Error(`bad ${text}`) }, 'x')

    expect(lines.join()).not.toContain('hunter2')
    expect(lines.join()).not.toContain(text)
    expect(lines.join()).toContain(`csk_${id}_[secret]`)
  })

  it('cuts out the tokens of GitHub in either form', () => {
    const { log, lines } = capture()

    log.info({ a: 'ghs_123456_eyJhbGciOi.J9-x_y' }, 'ghp_abcdefghijkl and github_pat_11AAAA_bcdef')

    expect(lines[0]).toContain('"a":"ghs_[secret]"')
    expect(lines[0]).toContain('"ghp_[secret] and github_pat_[secret]"')
  })

  it('shows control characters on a terminal instead of obeying them', () => {
    const { log, lines } = capture(true)

    log.child({ client: 'c1' }).warn({ userName: 'x\u001b[2J\u202e' }, 'seen\r\nfake line')

    expect(lines).toHaveLength(1)
    expect(lines[0]).toMatch(/^\d\d:\d\d:\d\d WARN {2}seen\\u000d\\u000afake line /)
    expect(lines[0]).toContain('client=c1 userName=x\\u001b[2J\\u202e')
  })
})
