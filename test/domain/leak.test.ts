import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { generateSshKeyPair } from '../../providers/github/openssh.ts'
import { leakedPart, leakFingerprint, leakTraits } from '../../src/domain/leak.ts'
import { mintToken } from '../../src/domain/token.ts'

const textOf = (prefix: 'cst' | 'csk') => {
  const { id, token } = mintToken(prefix)
  return { id, text: token.use((bytes) => bytes.toString('utf8')) }
}

describe('a leaked text', () => {
  it('is known by the id of a token of ours, when its checksum is right', () => {
    const [own, api] = [textOf('csk'), textOf('cst')]

    expect(leakTraits(` ${own.text}\n`).keyIds).toEqual([own.id])
    expect(leakTraits(api.text)).toEqual({ clientToken: api.id, keyIds: [], fingerprints: [] })
    expect(leakTraits(`${api.text.slice(0, -1)}_`).clientToken).toBeNull()
  })

  it.each([
    ['postgres://custody_01a204fafd79745a82b53a9aa8640e55_g12:secret@db.example:5432/orders'],
    ['{ "username": "custody_01a204fafd79745a82b53a9aa8640e55_g12", "password": "secret" }'],
    ['export PGUSER=custody_01a204fafd79745a82b53a9aa8640e55_g12 PGPASSWORD=secret'],
  ])('is known by the login of a database in it: %s', (text) => {
    expect(leakTraits(text).keyIds).toContain('custody_01a204fafd79745a82b53a9aa8640e55_g12')
  })

  it('is known by the fingerprint of its public half, whichever half it is', () => {
    const pair = generateSshKeyPair('somebody', randomBytes)
    const pem = pair.privateKey.use((bytes) => bytes.toString('utf8'))

    for (const text of [pem, pair.publicKey, pair.fingerprint]) {
      expect(leakTraits(text).fingerprints).toContain(pair.fingerprint)
    }
    expect(leakFingerprint(pem)).toBe(leakFingerprint(`\n${pem} `))
  })

  it('is known after somebody converted the key, if it is an ed25519 one', () => {
    const { privateKey } = generateKeyPairSync('ed25519')
    const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()

    expect(leakTraits(pem).fingerprints.some((print) => print.startsWith('SHA256:'))).toBe(true)
  })

  it.each([
    ['-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----'],
    [
      `-----BEGIN OPENSSH PRIVATE KEY-----\n${Buffer.from('openssh-key-v1\0\xff\xff\xff\xff', 'latin1').toString('base64')}\n-----END`,
    ],
    ['-----BEGIN PRIVATE KEY-----\nnonsense\n-----END PRIVATE KEY-----'],
    ['ssh-ed25519 short'],
    [''],
  ])('that is cut or garbled is known by its own hash alone: %j', (text) => {
    expect(leakTraits(text).fingerprints.every((print) => /^[0-9a-f]{64}$/.test(print))).toBe(true)
  })

  it.each([
    ['{"accessKeyId":"AKIAIOSFODNN7EXAMPLE","secretAccessKey":"x"}', ['AKIAIOSFODNN7EXAMPLE']],
    ['AKIAIOSFODNN7EXAMPLE AKIAIOSFODNN7EXAMPLF', ['AKIAIOSFODNN7EXAMPLE', 'AKIAIOSFODNN7EXAMPLF']],
    ['XAKIAIOSFODNN7EXAMPLE is none', []],
    ['1003#77', ['1003#77']],
  ])('names keys: %s', (text, ids) => {
    expect(leakTraits(text).keyIds.filter((id) => !id.startsWith('{'))).toEqual(ids)
  })

  it.each([
    ['export TOKEN=ghp_0123456789abcdef0123', 'ghp_0123456789abcdef0123'],
    ['https://x:gho_0123456789abcdef@github.com/a/b', 'gho_0123456789abcdef'],
    ['see ghs_1_abc.def-0123456789.', 'ghs_1_abc.def-0123456789'],
    ['ghp_0123456789abcdef ghp_fedcba9876543210', 'ghp_0123456789abcdef ghp_fedcba9876543210'],
    [' nothing known \n', 'nothing known'],
  ])('is taken out of its line: %s', (line, token) => {
    expect(leakedPart(line)).toBe(token)
  })
})
