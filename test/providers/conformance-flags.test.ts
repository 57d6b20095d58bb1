import type { CredentialKind } from '../../src/domain/credential.ts'
import { seconds } from '../../src/domain/time.ts'
import type { KindCapabilities } from '../../src/provider/contract.ts'
import { providerConformance } from '../conformance/provider.ts'
import { ManualClock } from '../support/manual-clock.ts'
import { MemoryProvider } from '../support/memory-provider.ts'

/** Each way in which a kind may differ: the suite has to take a provider that is honest about it. */
const kinds: readonly (readonly [string, CredentialKind, Partial<KindCapabilities>])[] = [
  [
    'leases that only their secret ends and nobody lists',
    'app-token',
    {
      canList: false,
      canDisable: false,
      keepsSecret: true,
      lease: { lifetime: seconds(3_600), renewBefore: seconds(600) },
    },
  ],
  ['roles without a secret', 'federated-role', { mint: 'none', maxLive: 2 }],
  [
    'grants that are found and never made',
    'pat-grant',
    { canCreate: false, canDisable: false, mint: 'none', canProbe: false },
  ],
  [
    'what only a person can end',
    'app-installation',
    { canCreate: false, canRevoke: false, canDisable: false, mint: 'none', canProbe: false },
  ],
  ['one key at a time, made by us', 'password', { mint: 'client', maxLive: 1 }],
]

for (const [label, kind, flags] of kinds) {
  providerConformance(`a provider of ${label}`, async () => {
    const clock = new ManualClock()
    const provider = new MemoryProvider(clock, kind, flags)
    const wrong = new MemoryProvider(clock, kind, flags)
    wrong.isWrong = true
    const person = { id: 'p', userName: 'mona', externalId: null, emails: [] }
    return {
      provider,
      kind,
      clock,
      pass: (time) => clock.advance(time),
      plant: async (want) => ({ external: want.account, keyId: provider.plant(want.account).id }),
      plantUnmanaged: () => provider.plant(null).name,
      snapshot: () => [...provider.things.values()],
      misconfigured: { 'nobody there': () => wrong },
      knownPerson: () => {
        provider.members.add(person.userName)
        return person
      },
      dispose: () => Promise.resolve(),
    }
  })
}
