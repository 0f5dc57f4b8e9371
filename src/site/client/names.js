// @ts-check
// The names of everything that one part of the client notifies another of. A conversation is a topic too: its id.

// What a view subscribes to at the model.
export const TOPIC = Object.freeze({
  me: 'me',
  list: 'list',
  people: 'people',
  presence: 'presence',
  outbox: 'outbox',
  sessions: 'sessions',
  reloaded: 'reloaded',
  arrived: 'arrived',
  notVerified: 'not_verified',
});

// What the connection, the session and the outbox notify of.
export const SIGNAL = Object.freeze({
  state: 'state',
  event: 'event',
  caughtUp: 'caught_up',
  change: 'change',
  ended: 'ended',
  open: 'open',
  progress: 'progress',
});

// The server's events that the client knows.
export const EVENT = Object.freeze({
  hello: 'hello',
  caughtUp: 'caught_up',
  reset: 'reset',
  heartbeat: 'heartbeat',
  expiring: 'expiring',
  posted: 'message.posted',
  edited: 'message.edited',
  deleted: 'message.deleted',
  reacted: 'message.reacted',
  pinned: 'message.pinned',
  read: 'conversation.read',
  created: 'conversation.created',
  updated: 'conversation.updated',
  memberAdded: 'member.added',
  memberRemoved: 'member.removed',
  profile: 'profile.updated',
  sessionEnded: 'session.ended',
  typing: 'typing',
  presence: 'presence',
});

// Recorded in the client: such a name says nothing.
export const VOICE_NAME = 'voice-message';

/** @param {{name: string, type: string}} file */
export const isVoice = ({ name, type }) => type.startsWith('audio/') && name.startsWith(`${VOICE_NAME}.`);
