import { consumersOf, mustReport } from '../domain/consumer.ts'
import { errors } from '../domain/errors.ts'
import type { Operation } from '../domain/operation.ts'
import type { Caller, Lifecycle } from './context.ts'
import { capabilitiesOf, overlapOf } from './credential-terms.ts'
import { rotateCredential } from './credentials.ts'
import { visibleCredential } from './visible.ts'

/**
 * A rotation that is taken back: which consumers moved to the new key, and how fast, without ending
 * the old one.
 * @throws what `rotateCredential` throws
 */
export async function rehearseCredential(
  life: Lifecycle,
  caller: Caller,
  id: string,
): Promise<Operation> {
  const { credential, account } = await visibleCredential(life, caller, id)
  const refuse = (why: string): never => {
    const status = `a credential ${why}`
    throw errors.wrongState({ what: 'Credential', id, status, action: 'rehearsed' })
  }
  if (capabilitiesOf(life, credential)?.lease) refuse('that is renewed all the time anyway')
  if (overlapOf(life, account, credential) === 0) refuse('whose keys do not overlap')
  const held = consumersOf(account).find(mustReport)
  // It would have to be restarted twice, and nothing would tell that it has the old key back.
  if (held) refuse(`that "${held.name}" reads only when it is restarted`)
  const keys = await life.store.read.keysOf(caller.tenant, credential.id)
  const served = keys.find((key) => key.generation === credential.generation)
  // Nobody but its consumers has the secret of what was imported: the rehearsal could never end.
  if (served && served.sinkVersion === null) {
    const next =
      'Custody never delivered its secret; rotate it once (custody credential rotate), then rehearse the next time.'
    const status = 'a credential whose old key cannot be given back'
    throw errors.wrongState({ what: 'Credential', id, status, action: 'rehearsed', next })
  }
  return rotateCredential(life, caller, id, 'rehearsal')
}
