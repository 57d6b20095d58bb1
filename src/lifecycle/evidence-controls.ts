import type { MeasureName } from './evidence-measures.ts'

/** Frameworks that evidence is laid out by. */
export const frameworks = ['owasp-nhi', 'nist-csf', 'soc2', 'pci-dss', 'iso27001'] as const
export type Framework = (typeof frameworks)[number]

/** What Custody says about one control, and by which figures it may be held to it. */
export interface Control {
  readonly control: string
  readonly title: string
  /** Null: Custody does nothing for it. */
  readonly claim: string | null
  readonly measures: readonly MeasureName[]
  /** What is not covered, or has to be shown by somebody else. */
  readonly gaps: readonly string[]
}

const owners: readonly MeasureName[] = ['openAccounts', 'ownerCoverage', 'orphaned']
const endings: readonly MeasureName[] = [
  'leaversOpen',
  'leaversComplete',
  'revocations',
  'revocationP95Seconds',
  'revocationWorstSeconds',
]
const rotations: readonly MeasureName[] = ['rotationsOverdue', 'oldestKeyDays', 'overageKeys']
const inventory: readonly MeasureName[] = ['foreignKeys', 'unmanaged', 'reactivatedKeys']
const log: readonly MeasureName[] = ['auditRows', 'auditSigned']
const rights: readonly MeasureName[] = ['rightsDrift', 'policyVersion']

const untried = 'Keys that cannot be tried (absent, untestable) are not among the revocation times.'
const peopleElsewhere =
  'People and their own access are the directory’s; Custody holds accounts that are no person’s.'
const noAtRest =
  'Encryption of the database’s disk is the operator’s; Custody stores no secret in it but sealed ones.'

const one = (
  control: string,
  title: string,
  claim: string | null,
  measures: readonly MeasureName[],
  ...gaps: readonly string[]
): Control => ({ control, title, claim, measures, gaps })

export const controls: Readonly<Record<Framework, readonly Control[]>> = {
  'owasp-nhi': [
    one(
      'NHI1',
      'Improper offboarding',
      'When an owner leaves, each key they may know is switched off and then proven dead by trying it.',
      [...endings, 'orphaned', 'reactivatedKeys'],
      untried,
    ),
    one(
      'NHI2',
      'Secret leakage',
      'Secrets go straight into a sink and never into an answer, a log or the audit; a reported leak ends the key at once.',
      ['staleStores', ...endings],
      'Looking for leaked secrets in code is a scanner’s work; it reports to POST /api/v1/leaks.',
      'How many people read a secret from its sink is known to the sink alone.',
    ),
    one(
      'NHI3',
      'Vulnerable third-party identities',
      'Accounts of a vendor carry a label, have an owner and an end, and are closed in one call.',
      ['vendors', ...owners],
      'Whether a vendor is vulnerable is not looked into.',
    ),
    one(
      'NHI4',
      'Insecure authentication',
      'Short-lived federated roles and app tokens are offered, and the policy may require them.',
      ['policyVersion'],
      'The share of short-lived kinds is not counted yet.',
    ),
    one(
      'NHI5',
      'Overprivileged identities',
      'Scopes are asked for by template, and what a provider really grants is compared with them.',
      rights,
      'Which of the granted rights are never used is not measured.',
    ),
    one(
      'NHI6',
      'Insecure cloud deployment configurations',
      'Federated roles are made with conditions on audience and subject.',
      ['rightsDrift'],
      'Deployment settings outside the accounts that Custody makes are not looked at.',
    ),
    one(
      'NHI7',
      'Long-lived secrets',
      'Every key has an end, a rotation period and a maximum age.',
      ['pastTheirEnd', ...rotations, 'watched'],
    ),
    one(
      'NHI8',
      'Environment isolation',
      'An account has one environment, by which the policy chooses its terms.',
      ['policyVersion'],
      'Whether one key is used in two environments is not measured.',
    ),
    one(
      'NHI9',
      'Reuse of identities',
      'Consumers are declared for each account.',
      [],
      'Accounts with more than one workload are not counted, and use from several places is not detected.',
    ),
    one(
      'NHI10',
      'Human use of non-human identities',
      'No interactive sign-in is made for an account, and no route shows a secret of one.',
      [],
      'Use of a key by a person is not detected.',
    ),
  ],
  'nist-csf': [
    one(
      'GV.RR-02',
      'Roles and responsibilities',
      'Every account has an owner, a person or a group with somebody in it.',
      owners,
    ),
    one(
      'GV.PO-01',
      'Policy is established',
      'Lifecycle and authorisation are files under version, and every decision names theirs.',
      ['policyVersion', 'authorisationVersion'],
      'Approval of the policy itself is a matter of your change process.',
    ),
    one(
      'GV.SC-07',
      'Risk of suppliers over time',
      'Accounts of vendors are labelled, owned and closed together.',
      ['vendors', 'ownerCoverage'],
      'Assessment of a supplier is not Custody’s.',
    ),
    one(
      'ID.AM-02',
      'Inventory of services',
      'Each provider’s listing is compared with the journal, and differences are findings.',
      ['openAccounts', ...inventory],
    ),
    one(
      'ID.AM-08',
      'Life cycles are managed',
      'Accounts end at a date, are held and then deleted.',
      ['pastTheirEnd', 'leaversOpen'],
    ),
    one(
      'ID.RA-07',
      'Exceptions are managed',
      'What is accepted has a reason, somebody who said it and an end.',
      ['acceptedFindings', 'watched'],
    ),
    one(
      'ID.IM-02',
      'Improvements from exercises',
      null,
      [],
      'Drills are not part of Custody yet; a rehearsal tries a single credential.',
    ),
    one(
      'PR.AA-01',
      'Identities and credentials are managed',
      'Credentials are made, rotated and ended by a journal of operations.',
      [...owners, ...rotations],
    ),
    one('PR.AA-02', 'Identities are proofed', null, [], peopleElsewhere),
    one(
      'PR.AA-03',
      'Services are authenticated',
      'Keys are bound to one account at one provider.',
      ['foreignKeys', 'reactivatedKeys'],
    ),
    one(
      'PR.AA-05',
      'Least privilege, reviewed',
      'Rights are templates; drift from them is found, and owners certify accounts.',
      rights,
      'A share of accounts certified in time is not measured.',
    ),
    one('PR.DS-01', 'Data at rest', 'No secret is stored but sealed.', ['staleStores'], noAtRest),
    one('PR.PS-04', 'Log records', 'Each act is a row of a signed, append-only tree.', log),
    one(
      'DE.CM-03',
      'Personnel activity is monitored',
      null,
      [],
      'Use of accounts by people is not detected.',
    ),
    one(
      'DE.CM-09',
      'Software and services are monitored',
      'Inventories are taken on a schedule and compared.',
      [...inventory, 'rightsDrift'],
    ),
    one(
      'RS.MI-01',
      'Incidents are contained',
      'What takes access away is claimed before any other work.',
      ['revocations', 'revocationP95Seconds', 'revocationWorstSeconds', 'needsOperator'],
      untried,
    ),
    one(
      'RS.MI-02',
      'Incidents are eradicated',
      'Ended keys are tried and looked for again; one that works again is ended again.',
      ['reactivatedKeys', 'leaversOpen'],
    ),
    one(
      'RC.RP-03',
      'Integrity of restoration',
      'An old database is recognised, and nothing is minted or deleted until an operator says so.',
      ['restored', 'brakesOn'],
    ),
  ],
  soc2: [
    one('CC1.5', 'Accountability', 'Every account has somebody who answers for it.', owners),
    one(
      'CC4.1',
      'Monitoring of controls',
      'Sweeps look at every account; what stops them is shown.',
      ['brakesOn', 'needsOperator', 'approvalsWaiting'],
    ),
    one(
      'CC6.1',
      'Logical access security',
      'Access is decided by rules under version, default deny.',
      ['authorisationVersion', 'foreignKeys', 'unmanaged'],
    ),
    one(
      'CC6.2',
      'Credentials are issued and removed',
      'A key is made for an owned account only and ends with it.',
      ['ownerCoverage', 'pastTheirEnd', ...endings],
    ),
    one(
      'CC6.3',
      'Access is changed and removed; duties are separate',
      'Whoever reports a mass leaving may not approve it; transfers need the other’s word.',
      ['orphaned', 'rightsDrift', 'approvalsWaiting'],
    ),
    one('CC6.6', 'Threats from outside', null, [], 'Boundaries of networks are not Custody’s.'),
    one(
      'CC7.2',
      'Anomalies are monitored',
      'What a provider shows and the journal does not is a finding.',
      [...inventory, 'rightsDrift'],
      'How keys are used is looked at for last use only.',
    ),
    one(
      'CC7.3',
      'Events are evaluated',
      'Findings are accepted with a reason and an end, or undone.',
      ['acceptedFindings'],
    ),
    one(
      'CC7.4',
      'Response to incidents',
      'Leaks and leavings are acted on at once.',
      ['revocations', 'revocationP95Seconds', 'revocationWorstSeconds'],
      untried,
    ),
    one(
      'CC8.1',
      'Changes are managed',
      'Every write is an audit row with who, what and by which rule.',
      ['policyVersion', ...log],
      'Changes of the policy files are your repository’s to show.',
    ),
  ],
  'pci-dss': [
    one(
      '7.2.5',
      'Least privilege of application and system accounts',
      'Rights come from templates, and drift is found.',
      rights,
    ),
    one(
      '7.2.5.1',
      'Periodic review of these accounts',
      'Owners certify accounts; the end date forces it.',
      ['ownerCoverage', 'pastTheirEnd'],
      'A share of accounts reviewed in the period, and management’s acknowledgement, are not measured.',
    ),
    one(
      '8.2.5',
      'Access of terminated users is revoked at once',
      'Keys that a leaver may know are ended and proven dead.',
      endings,
      peopleElsewhere,
      untried,
    ),
    one(
      '8.2.6',
      'Inactive accounts within 90 days',
      null,
      [],
      'Last use is noted; accounts are not disabled for being idle.',
    ),
    one(
      '8.6.1',
      'Interactive use is prevented',
      'No interactive sign-in is made for an account.',
      [],
      'Interactive use elsewhere is not detected.',
    ),
    one(
      '8.6.2',
      'No hard-coded passwords',
      'Secrets are delivered to a sink that consumers read.',
      ['staleStores'],
      'Code is not scanned.',
    ),
    one(
      '8.6.3',
      'Passwords are changed by risk and on suspicion',
      'Rotation by policy; a reported leak is acted on at once.',
      rotations,
    ),
    one('10.2', 'Audit logs', 'Each act is a row, with who and by which rule.', log),
    one(
      '10.3',
      'Audit logs are protected',
      'Rows form a signed tree; a changed or missing one is found.',
      log,
    ),
    one(
      '10.5.1',
      'Audit log history',
      'No row of the log is ever deleted.',
      log,
      'Twelve months of retention of exports are the archive’s.',
    ),
  ],
  iso27001: [
    one(
      'A.5.9',
      'Inventory of assets',
      'Accounts and credentials are listed, and compared with providers.',
      ['openAccounts', ...inventory],
    ),
    one('A.5.15', 'Access control', 'Access is decided by rules under version.', [
      'authorisationVersion',
    ]),
    one(
      'A.5.16',
      'Identity management',
      'Identities have an owner, an end and a history from request to deletion.',
      [...owners, 'pastTheirEnd'],
    ),
    one(
      'A.5.17',
      'Authentication information',
      'Secrets are made, delivered and replaced without a person seeing them.',
      [...rotations, 'staleStores'],
    ),
    one('A.5.18', 'Access rights', 'Rights are granted by template, compared, and taken back.', [
      ...rights,
      'leaversOpen',
    ]),
    one(
      'A.5.28',
      'Collection of evidence',
      'Every act has a proof of inclusion in a signed log.',
      log,
    ),
    one(
      'A.6.5',
      'After termination',
      'What a leaver may know is ended and proven dead.',
      endings,
      untried,
    ),
    one(
      'A.8.2',
      'Privileged access rights',
      'Protected accounts need two persons’ words.',
      ['approvalsWaiting'],
      'Which accounts are privileged is not known by itself.',
    ),
    one(
      'A.8.3',
      'Restriction of access to information',
      'A credential carries the scopes that were asked for and no more.',
      ['rightsDrift'],
    ),
    one(
      'A.8.5',
      'Secure authentication',
      'Clients of Custody use hashed tokens with an end.',
      [],
      'Sign-in of people is the directory’s.',
    ),
    one('A.8.15', 'Logging', 'Each act is a row of a signed, append-only tree.', log),
    one('A.8.16', 'Monitoring', 'Inventories are compared on a schedule.', [
      ...inventory,
      'needsOperator',
      'brakesOn',
    ]),
    one(
      'A.8.24',
      'Cryptography',
      'Secrets that must be kept are sealed; tokens are kept as keyed hashes.',
      ['auditSigned'],
      noAtRest,
    ),
    one(
      'A.8.32',
      'Change management',
      'Policies are files under version; each decision names it.',
      ['policyVersion', 'authorisationVersion'],
      'Review of a policy change is your repository’s to show.',
    ),
  ],
}
