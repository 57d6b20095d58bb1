import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { consumerId, consumerProblem, parseConsumerId } from '../../src/domain/consumer.ts'

const hook = (reloadHook: string) => ({ name: 'web', kind: undefined, reloadHook })
const named = (name: string, kind?: string) => ({ name, kind, reloadHook: undefined })

describe('a list of consumers', () => {
  it.each([
    [[], null],
    [[named('web', 'restart-only'), named('Web', 'a word of our own')], null],
    [[hook('https://hooks.example:8443/reload/a')], null],
    [[hook('http://127.0.0.1:9/x')], null],
    [[named('web'), named('web')], 'name'],
    [[named('')], 'name'],
    [[named('*')], 'name'],
    [[named(' web')], 'name'],
    [[named('a\nb')], 'name'],
    [[named('x'.repeat(101))], 'name'],
    [Array.from({ length: 101 }, (_, i) => named(`c${i}`)), 'name'],
    [[named('web', '')], 'kind'],
    [[named('web', 'x'.repeat(101))], 'kind'],
    [[hook('/reload')], 'reloadHook'],
    [[hook('http://hooks.example/')], 'reloadHook'],
    [[hook('http://10.0.0.1/')], 'reloadHook'],
    [[hook('ftp://hooks.example/')], 'reloadHook'],
    [[hook('file:///etc/passwd')], 'reloadHook'],
    [[hook('https://user:hunter2@hooks.example/')], 'reloadHook'],
    [[hook('https://hooks.example/?token=hunter2')], 'reloadHook'],
    [[hook('https://hooks.example/#hunter2')], 'reloadHook'],
    [[hook(`https://hooks.example/${'x'.repeat(500)}`)], 'reloadHook'],
  ] as const)('%j has a problem with: %s', (consumers, attribute) => {
    const problem = consumerProblem(consumers)

    expect(problem?.attribute ?? null).toBe(attribute)
    expect(problem?.reason ?? '').not.toContain('hunter2')
  })
})

describe('the id of a consumer', () => {
  it('leads back to its account and its name, whatever characters that has', () => {
    fc.assert(
      fc.property(fc.uuid(), fc.string({ minLength: 1 }), (account, name) => {
        expect(parseConsumerId(consumerId(account as never, name))).toEqual({ account, name })
      }),
    )
    for (const odd of ['', ':', 'x', 'x:', ':x']) expect(parseConsumerId(odd)).toBeNull()
  })
})
