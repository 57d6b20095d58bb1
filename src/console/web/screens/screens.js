import { AccountScreen } from './account.js'
import { AccountsScreen } from './accounts.js'
import { ApprovalsScreen } from './approvals.js'
import { AuditScreen } from './audit.js'
import { ExpiryScreen } from './expiry.js'
import { HeldScreen } from './held.js'
import { LeaverScreen } from './leaver.js'
import { OperationsScreen } from './operations.js'
import { OverviewScreen } from './overview.js'
import { ProvidersScreen } from './providers.js'
import { ScimLogScreen } from './scim-log.js'
import { ShadowScreen } from './shadow.js'

/** By the first word of the address below `/console/`. @type {Readonly<Record<string, (props: { place: import('../lib/router.js').Place }) => any>>} */
export const screens = {
  accounts: AccountsScreen,
  account: AccountScreen,
  expiry: ExpiryScreen,
  leaver: LeaverScreen,
  held: HeldScreen,
  approvals: ApprovalsScreen,
  operations: OperationsScreen,
  shadow: ShadowScreen,
  audit: AuditScreen,
  'scim-log': ScimLogScreen,
  providers: ProvidersScreen,
  '': OverviewScreen,
}
