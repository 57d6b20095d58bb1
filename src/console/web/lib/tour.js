/**
 * Five steps through Custody on made-up data. A step is done when it has really happened: an event
 * of the change feed, or a page that was looked at. No browser in here: the terminal of the demo
 * ticks the same steps.
 * @typedef {object} TourStep
 * @property {string} id
 * @property {string} title
 * @property {string} sentence what to do
 * @property {string} path below `/console/`
 * @property {(event: { type: string, facts: any }) => boolean} isDoneBy an event of the feed
 * @property {(seen: { screen: string, query: string, mark: string | null }) => boolean} isDoneAt a page, or a mark set on it
 */

const never = () => false

/** @type {readonly TourStep[]} */
export const tourSteps = [
  {
    id: 'expiry',
    title: 'See what ends next',
    sentence:
      'Every account has an end date. The heat map shows the year, the list each day of it.',
    path: 'expiry',
    isDoneBy: never,
    isDoneAt: ({ mark }) => mark === 'expiry',
  },
  {
    id: 'impact',
    title: 'Ask what a leaving would do',
    sentence: 'Pick a person who is active: each account with what is decided, and by which rule.',
    path: 'leaver',
    isDoneBy: never,
    isDoneAt: ({ mark }) => mark === 'impact',
  },
  {
    id: 'leave',
    title: 'Let somebody leave, and watch each key die',
    sentence: 'Start the leaving of that person. Every key is switched off, tried, and refused.',
    path: 'leaver',
    isDoneBy: ({ type, facts }) => type === 'person.left' && facts?.declaredByOperator === true,
    isDoneAt: never,
  },
  {
    id: 'held',
    title: 'Decide about the held batch',
    sentence: 'A directory let too many people go at once. Say who really left.',
    path: 'held',
    isDoneBy: ({ type }) => type === 'leaving.approved' || type === 'leaving.denied',
    isDoneAt: never,
  },
  {
    id: 'verify',
    title: 'Verify the audit log',
    sentence: 'Your browser checks the signed tree itself. Then download a proof.',
    path: 'audit',
    isDoneBy: never,
    isDoneAt: ({ mark }) => mark === 'verified',
  },
]
