// The types of the API, written from the schema table by SCHEMA_UPDATE=1 cargo test documents. Do not edit.

export type Id = string;

export type Time = string;

export type Cursor = string;

export type Problem = {
  type: string;
  status: number;
  code: string;
  title: string;
  field: string | null;
  retry: boolean;
  retry_after_ms: number | null;
  cursor?: Cursor;
};

export type Token = {
  access: string;
  refresh: string;
  token_uuid: Id;
  refresh_uuid: Id;
  token_expire: number;
  refresh_expire: number;
};

export type Member = {
  id: Id;
  email: string;
  verified: boolean;
  active: boolean;
  created_at: Time;
};

export type Profile = {
  id: Id;
  member: Id | null;
  display_name: string;
  nick_name: string;
  profile_image: string | null;
  is_private: boolean;
  created_at: Time;
  presence?: boolean;
};

export type Account = {
  member: Member;
  profile: Profile;
};

export type SignedIn = {
  token: Token;
  member: Member;
  profile: Profile;
};

export type Session = {
  id: Id;
  unique_id: string | null;
  user_agent: string;
  address: string;
  place: string | null;
  created_at: Time;
  last_seen_at: Time;
  current: boolean;
  push: PushSubscription | null;
};

export type PushSubscription = {
  level: 'off' | 'who' | 'text';
  created_at: Time;
};

export type Ticket = {
  ticket: string;
  expires_at: Time;
};

export type ExportLine = {
  kind: 'member';
  data: Member;
} | {
  kind: 'profile';
  data: Profile;
} | {
  kind: 'session';
  data: {
    id: Id;
    unique_id: string | null;
    user_agent: string;
    address: string;
    place: string | null;
    created_at: Time;
    last_seen_at: Time;
    push: PushSubscription | null;
  };
} | {
  kind: 'block';
  data: {
    profile: Id;
  };
} | {
  kind: 'upload';
  data: {
    id: Id;
    name: string;
    type: string;
    size: number;
    sha256: string;
    width: number | null;
    height: number | null;
    url: string;
    created_at: Time;
  };
} | {
  kind: 'conversation';
  data: {
    id: Id;
    type: 'direct' | 'group';
    title: string | null;
    peer: Id | null;
    read_n: number;
    last_n: number;
    muted: boolean;
  };
} | {
  kind: 'message';
  data: Message;
} | {
  kind: 'reaction';
  data: {
    message: Id;
    emoji: string;
  };
};

export type Attachment = {
  id: Id;
  name: string;
  type: string;
  size: number;
  width: number | null;
  height: number | null;
  url: string;
};

export type Upload = {
  id: Id;
  name: string;
  type: string;
  size: number;
  sha256: string;
  width: number | null;
  height: number | null;
  url: string;
};

export type Reaction = {
  emoji: string;
  count: number;
  profiles: Array<Id>;
};

export type Message = {
  id: Id;
  client_id: Id;
  conversation: Id;
  n: number;
  seq: number;
  rev: number;
  sender: Id | null;
  body: string | null;
  attachments: Array<Attachment>;
  reply_to: Id | null;
  reactions: Array<Reaction>;
  created_at: Time;
  edited_at: Time | null;
  deleted_at: Time | null;
  damaged?: true;
};

export type MessagePlace = {
  id: Id;
  client_id: Id;
  n: number;
  seq: number;
};

export type Conversation = {
  id: Id;
  type: 'direct' | 'group';
  title: string | null;
  image: string | null;
  members_count: number;
  peer: Profile | null;
  last_message: Message | null;
  unread: number;
  read_n: number;
  last_n: number;
  muted: boolean;
  peer_read_n?: number;
  role?: 'admin' | 'member';
};

export type ConversationBrief = {
  id: Id;
  type: 'direct' | 'group';
  title: string | null;
  image: string | null;
  members_count: number;
};

export type GroupMember = {
  profile: Profile;
  role: 'admin' | 'member';
  joined_at: Time;
};

export type Marked = {
  read_n: number;
  unread: number;
};

export type Event = {
  event: string;
  seq: number;
  data: Record<string, unknown>;
};

export interface Ops {
  'message.post': {
    id?: string | number;
    op: 'message.post';
    conversation?: Id;
    to?: Id;
    client_id: Id;
    body?: string;
    attachments?: Array<Id>;
    reply_to?: Id;
  };
  'message.get': {
    id?: string | number;
    op: 'message.get';
    message: Id;
  };
  'message.edit': {
    id?: string | number;
    op: 'message.edit';
    message: Id;
    body: string;
  };
  'message.delete': {
    id?: string | number;
    op: 'message.delete';
    message: Id;
  };
  'message.react': {
    id?: string | number;
    op: 'message.react';
    message: Id;
    emoji: string;
  };
  'message.unreact': {
    id?: string | number;
    op: 'message.unreact';
    message: Id;
    emoji: string;
  };
  'message.search': {
    id?: string | number;
    op: 'message.search';
    q: string;
    conversation?: Id;
    limit?: number;
    next?: string;
  };
  'message.list': {
    id?: string | number;
    op: 'message.list';
    conversation: Id;
    before?: number;
    after?: number;
    limit?: number;
    next?: string;
  };
  'conversation.list': {
    id?: string | number;
    op: 'conversation.list';
    limit?: number;
    next?: string;
  };
  'conversation.create': {
    id?: string | number;
    op: 'conversation.create';
    client_id?: Id;
    title: string;
    members?: Array<Id>;
  };
  'conversation.get': {
    id?: string | number;
    op: 'conversation.get';
    conversation: Id;
  };
  'conversation.update': {
    id?: string | number;
    op: 'conversation.update';
    conversation: Id;
    title?: string;
    image?: Id | null;
    muted?: boolean;
  };
  'conversation.read': {
    id?: string | number;
    op: 'conversation.read';
    conversation: Id;
    n: number;
  };
  'member.list': {
    id?: string | number;
    op: 'member.list';
    conversation: Id;
    limit?: number;
    next?: string;
  };
  'member.add': {
    id?: string | number;
    op: 'member.add';
    conversation: Id;
    profile: Id;
    role?: 'admin' | 'member';
  };
  'member.remove': {
    id?: string | number;
    op: 'member.remove';
    conversation: Id;
    profile: Id;
  };
  'typing': {
    id?: string | number;
    op: 'typing';
    conversation: Id;
    active?: boolean;
  };
  'focus': {
    id?: string | number;
    op: 'focus';
    conversation: Id | null;
  };
  'auth': {
    id?: string | number;
    op: 'auth';
    access: string;
  };
}

export interface Events {
  'message.posted': {
    event: 'message.posted';
    seq: number;
    data: Message;
  };
  'message.edited': {
    event: 'message.edited';
    seq: number;
    data: Message;
  };
  'message.deleted': {
    event: 'message.deleted';
    seq: number;
    data: Message;
  };
  'message.reacted': {
    event: 'message.reacted';
    seq: number;
    data: Message;
  };
  'conversation.read': {
    event: 'conversation.read';
    seq: number;
    data: {
      conversation: Id;
      profile: Id;
      read_n: number;
    };
  };
  'conversation.created': {
    event: 'conversation.created';
    seq: number;
    data: ConversationBrief;
  };
  'conversation.updated': {
    event: 'conversation.updated';
    seq: number;
    data: ConversationBrief;
  };
  'member.added': {
    event: 'member.added';
    seq: number;
    data: {
      conversation: Id;
      profile: Id;
      role: 'admin' | 'member';
    };
  };
  'member.removed': {
    event: 'member.removed';
    seq: number;
    data: {
      conversation: Id;
      profile: Id;
      role: 'admin' | 'member';
    };
  };
  'profile.updated': {
    event: 'profile.updated';
    seq: number;
    data: Profile;
  };
  'session.ended': {
    event: 'session.ended';
    seq: number;
    data: {
      session: Id;
    };
  };
  'hello': {
    event: 'hello';
    profile: Id;
    session: Id;
    epoch: string;
    seq: number;
    heartbeat_ms: number;
    limits: {
      message_max: number;
      ws_message_max: number;
      attachments_max: number;
      in_flight_max: number;
      upload_max: number;
      send_queue_max: number;
      members_max: number;
    };
  };
  'caught_up': {
    event: 'caught_up';
    seq: number;
  };
  'reset': {
    event: 'reset';
    reason: 'epoch' | 'pruned';
    seq: number;
  };
  'heartbeat': {
    event: 'heartbeat';
    seq: number;
  };
  'expiring': {
    event: 'expiring';
  };
  'typing': {
    event: 'typing';
    data: {
      conversation: Id;
      profile: Id;
      active: boolean;
    };
  };
  'presence': {
    event: 'presence';
    data: {
      profile: Id;
      online: boolean;
      last_seen_at: Time | null;
    };
  };
}

export type AnswerFrame = {
  re: string | number | null;
  ok: unknown;
  duplicate?: true;
  next?: string | null;
  cursor?: Cursor | null;
  unread_total?: number;
  complete?: false;
};

export type ErrorFrame = {
  re: string | number | null;
  error: {
    code: string;
    title: string;
    field: string | null;
    retry: boolean;
    retry_after_ms: number | null;
  };
};

export type EventFrame = Events[keyof Events];
