import { format, inspect } from 'node:util'
import { describe, expect, it } from 'vitest'
import { Secret } from '../../src/domain/secret.ts'

const canary = 'canary-wJalrXUtnFEMI/K7MDENG'

describe('a secret (R78)', () => {
  // oxlint-disable no-base-to-string, restrict-template-expressions -- what careless code would do
  it.each<readonly [string, (secret: Secret) => string]>([
    ['JSON', (secret) => JSON.stringify({ deep: [{ secret }] })],
    ['a template', (secret) => `${secret}`],
    ['concatenation', (secret) => 'key ' + String(secret)],
    ['inspect', (secret) => inspect({ secret }, { depth: null, showHidden: true })],
    ['a format string', (secret) => format('%s %o %j %O', secret, secret, secret, secret)],
    ['an error', (secret) => inspect(new Error('failed', { cause: { secret } }), { depth: null })],
    ['its own properties', (secret) => JSON.stringify(Object.getOwnPropertyDescriptors(secret))],
    ['a copy', (secret) => inspect(structuredClone(secret), { depth: null })],
  ])('shows nothing of itself in %s', (_where, print) => {
    using secret = Secret.ofText(canary)

    const printed = print(secret)

    expect(printed).not.toContain('canary')
    expect(printed).not.toContain(Buffer.from(canary).toString('base64').slice(0, 12))
    expect(printed).not.toContain(Buffer.from(canary).toString('hex').slice(0, 12))
  })
  // oxlint-enable no-base-to-string, restrict-template-expressions

  it('is lent to whoever names it, and to nobody once it was disposed of', () => {
    const bytes = Buffer.from(canary)
    const secret = Secret.of(bytes)
    expect(secret.use((lent) => lent.toString('utf8'))).toBe(canary)

    secret.dispose()

    expect(() => secret.use(() => null)).toThrow('disposed')
    expect(bytes.every((byte) => byte === 0)).toBe(true)
  })
})
