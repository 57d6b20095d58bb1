/** What each rule of the policy means, for whoever has to trust it. @type {Readonly<Record<string, string>>} */
const sentences = {
  ownerActive: 'the owner is active',
  accountClosed: 'it is switched off already',
  groupGrace: 'the owning group gets its grace first',
  grace: 'this sort of leaving gets its grace first',
  held: 'the leaving is held for a decision',
  observed: 'the policy only watches here',
  activeBackup: 'an active backup owner takes over',
  usedInProduction: 'in production, and used within the last day',
  protected: 'protected: never switched off by itself',
  noHeir: 'nobody is there to take it over',
  notAccepted: 'nobody accepted it in time',
  plannedLeave: 'offered ahead of the leave date',
  memberLeft: 'a member of the owning group left',
  expired: 'its end date has passed',
}

/** @param {string} rule */
export function ruleSentence(rule) {
  return sentences[rule] ?? rule
}

/** What is done by each decision. @type {Readonly<Record<string, string>>} */
const decisions = {
  none: 'Nothing',
  offer: 'Rotate, offer to an heir',
  disable: 'Disable at once',
}

/** @param {string} decision */
export function decisionSentence(decision) {
  return decisions[decision] ?? decision
}

/** Words of the directory about somebody's leaving. @type {Readonly<Record<string, string>>} */
const leaveClasses = {
  deactivated: 'deactivated by the directory',
  deleted: 'deleted by the directory',
  leaveDate: 'the leave date has passed',
  groupEmptied: 'the group has no active member',
  declared: 'declared by an operator',
  security: 'declared a security event',
}

/** @param {string | null | undefined} name */
export function leaveSentence(name) {
  return name ? (leaveClasses[name] ?? name) : null
}
