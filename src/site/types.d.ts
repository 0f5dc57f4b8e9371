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
  email: string | null;
  verified: boolean;
  active: boolean;
  admin?: true;
  bot?: true;
  digest?: true;
  second_factor?: true;
  recovery_codes?: number;
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
  bot?: true;
};

export type Account = {
  member: Member;
  profile: Profile;
  directory?: true;
  mails?: true;
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

export type Invite = {
  id: Id;
  conversation: Id | null;
  maker: Id | null;
  uses: number;
  uses_max: number;
  created_at: Time;
  expires_at: Time;
};

export type Ticket = {
  ticket: string;
  expires_at: Time;
};

export type ExportLine = ExportedMember | ExportedProfile | ExportedSession | ExportedBlock | ExportedInvite | ExportedUpload | ExportedConversation | ExportedMessage | ExportedReaction;

export type Attachment = {
  id: Id;
  name: string;
  type: string;
  size: number;
  width: number | null;
  height: number | null;
  alt: string | null;
  duration_ms: number | null;
  url: string;
  preview: string | null;
};

export type Upload = {
  id: Id;
  name: string;
  type: string;
  size: number;
  sha256: string;
  width: number | null;
  height: number | null;
  alt: string | null;
  duration_ms: number | null;
  url: string;
  preview: string | null;
};

export type ShownFile = {
  message: Id;
  n: number;
  sender: Id | null;
  created_at: Time;
  file: Attachment;
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
  kind?: 'created' | 'added' | 'removed' | 'left' | 'promoted' | 'demoted' | 'renamed' | 'joined';
  profiles?: Array<Id>;
  profiles_count?: number;
  title?: string;
  forwarded?: true;
  pinned?: true;
  mentions?: Array<Id | 'all'>;
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
  history?: 'all' | 'joined';
  messages_kept?: number;
  erased_n?: number;
  peer: Profile | null;
  last_message: Message | null;
  unread: number;
  read_n: number;
  last_n: number;
  peer_read_n?: number;
  role?: 'admin' | 'member';
  first_n?: number;
  muted: boolean;
  muted_until?: Time;
  pinned?: true;
  archived?: true;
  marked_unread?: true;
  hidden?: true;
  unread_mentions?: number;
  mention_n?: number;
};

export type ConversationBrief = {
  id: Id;
  type: 'direct' | 'group';
  title: string | null;
  image: string | null;
  members_count: number;
  history?: 'all' | 'joined';
  messages_kept?: number;
  erased_n?: number;
  own?: true;
};

export type GroupMember = {
  profile: Profile;
  role: 'admin' | 'member';
  joined_at: Time;
  read_n?: number;
};

export type Marked = {
  read_n: number;
  unread: number;
  unread_mentions?: number;
  mention_n?: number;
};

export type Event = {
  event: string;
  seq: number;
  data: Record<string, unknown>;
};

export type Bot = {
  profile: Profile;
  active: boolean;
};

export type HookState = {
  id: Id;
  url: string;
  seq: number;
  failures: number;
  error: string | null;
  retry_at: Time | null;
  created_at: Time;
};

export type BotToken = {
  id: Id;
  name: string;
  conversation: Id | null;
  created_at: Time;
  last_used_at: Time | null;
};

export type ExportedMember = {
  kind: 'member';
  data: Member;
};

export type ExportedProfile = {
  kind: 'profile';
  data: Profile;
};

export type ExportedSession = {
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
};

export type ExportedBlock = {
  kind: 'block';
  data: {
    profile: Id;
  };
};

export type ExportedInvite = {
  kind: 'invite';
  data: Invite;
};

export type ExportedUpload = {
  kind: 'upload';
  data: {
    id: Id;
    name: string;
    type: string;
    size: number;
    sha256: string;
    width: number | null;
    height: number | null;
    alt: string | null;
    duration_ms: number | null;
    url: string;
    preview: string | null;
    created_at: Time;
  };
};

export type ExportedConversation = {
  kind: 'conversation';
  data: {
    id: Id;
    type: 'direct' | 'group';
    title: string | null;
    peer: Id | null;
    read_n: number;
    last_n: number;
    muted: boolean;
    muted_until?: Time;
    pinned?: true;
    archived?: true;
    marked_unread?: true;
    hidden?: true;
  };
};

export type ExportedMessage = {
  kind: 'message';
  data: Message;
};

export type ExportedReaction = {
  kind: 'reaction';
  data: {
    message: Id;
    emoji: string;
  };
};

export interface Routes {
  'GET /user/sign-up': {
    params: {};
    answer: {
      data: {
        open: boolean;
        invite: boolean;
        verification_required: boolean;
      };
    };
  };
  'POST /user/sign-up': {
    params: {
      display_name: string;
      email: string;
      password: string;
      unique_id?: string;
      invite?: string;
    };
    answer: {
      data: SignedIn;
      delivery?: 'file';
    };
  };
  'POST /user/sign-in': {
    params: {
      email: string;
      password: string;
      unique_id?: string;
      code?: string;
    };
    answer: {
      data: SignedIn;
    };
  };
  'POST /user/refresh': {
    params: {
      refresh: string;
    };
    answer: {
      data: Token;
    };
  };
  'POST /user/logout': {
    params: {};
    answer: {
      data: null;
    };
  };
  'PUT /user/password': {
    params: {
      password: string;
      new_password: string;
      confirm_password: string;
    };
    answer: {
      data: null;
    };
  };
  'POST /user/second-factor': {
    params: {};
    answer: {
      data: {
        secret: string;
        uri: string;
        setup: string;
      };
    };
  };
  'PUT /user/second-factor': {
    params: {
      password: string;
      code: string;
      setup: string;
    };
    answer: {
      data: {
        member: Member;
        recovery_codes?: Array<string>;
      };
    };
  };
  'DELETE /user/second-factor': {
    params: {
      password: string;
      code: string;
    };
    answer: {
      data: {
        member: Member;
        recovery_codes?: Array<string>;
      };
    };
  };
  'POST /user/second-factor/recovery': {
    params: {
      password: string;
      code: string;
    };
    answer: {
      data: {
        member: Member;
        recovery_codes?: Array<string>;
      };
    };
  };
  'GET /user/sessions': {
    params: {
      limit?: number;
      next?: string;
    };
    answer: {
      data: Array<Session>;
      next: string | null;
    };
  };
  'DELETE /user/sessions': {
    params: {};
    answer: { data: null };
  };
  'DELETE /user/sessions/{session}': {
    params: {
      session: Id;
    };
    answer: { data: null };
  };
  'POST /user/ticket': {
    params: {
      for?: 'events';
    };
    answer: {
      data: Ticket;
    };
  };
  'POST /user/verify/code': {
    params: {
      code_type?: string;
    };
    answer: {
      data: null;
      delivery?: 'file';
    };
  };
  'POST /user/verify/renew': {
    params: {
      code_type?: string;
    };
    answer: {
      data: null;
      delivery?: 'file';
    };
  };
  'POST /user/verify/check': {
    params: {
      code: string;
    };
    answer: {
      data: null;
    };
  };
  'POST /user/reset/code': {
    params: {
      email: string;
    };
    answer: {
      data: null;
      delivery?: 'file';
    };
  };
  'POST /user/reset/password': {
    params: {
      email: string;
      code: string;
      password: string;
    };
    answer: {
      data: null;
    };
  };
  'POST /user/verify/reset/password': {
    params: {
      email: string;
      code: string;
      password: string;
    };
    answer: {
      data: null;
    };
  };
  'GET /user/me': {
    params: {};
    answer: {
      data: Account;
    };
  };
  'PUT /user/me': {
    params: {
      digest?: boolean;
    };
    answer: {
      data: Account;
    };
  };
  'DELETE /user/me': {
    params: {
      password: string;
      messages?: 'keep' | 'erase';
    };
    answer: { data: null };
  };
  'POST /user/delete': {
    params: {
      password: string;
      messages?: 'keep' | 'erase';
    };
    answer: { data: null };
  };
  'GET /user/export': {
    params: {};
    answer: unknown;
  };
  'GET /push': {
    params: {};
    answer: {
      data: {
        key: string;
      };
    };
  };
  'PUT /push': {
    params: {
      endpoint: string;
      p256dh: string;
      auth: string;
      level: 'off' | 'who' | 'text';
    };
    answer: {
      data: PushSubscription;
    };
  };
  'PUT /push/{session}': {
    params: {
      session: Id;
      level: 'off' | 'who' | 'text';
    };
    answer: {
      data: PushSubscription;
    };
  };
  'DELETE /push/{session}': {
    params: {
      session: Id;
    };
    answer: { data: null };
  };
  'GET /profile': {
    params: {};
    answer: {
      data: Profile;
    };
  };
  'PUT /profile': {
    params: {
      display_name?: string;
      nick_name?: string;
      is_private?: boolean;
      presence?: boolean;
      profile_image?: Id | null;
    };
    answer: {
      data: Profile;
    };
  };
  'GET /profile/{profile}': {
    params: {
      profile: Id;
    };
    answer: {
      data: Profile;
    };
  };
  'GET /profiles': {
    params: {
      ids?: string;
      query?: string;
      limit?: number;
      next?: string;
    };
    answer: {
      data: Array<Profile>;
      next: string | null;
    };
  };
  'GET /directory': {
    params: {
      query?: string;
      limit?: number;
      next?: string;
    };
    answer: {
      data: Array<Profile>;
      next: string | null;
    };
  };
  'GET /blocks': {
    params: {
      limit?: number;
      next?: string;
    };
    answer: {
      data: Array<Profile>;
      next: string | null;
    };
  };
  'PUT /blocks/{profile}': {
    params: {
      profile: Id;
    };
    answer: { data: null };
  };
  'DELETE /blocks/{profile}': {
    params: {
      profile: Id;
    };
    answer: { data: null };
  };
  'GET /{nick_name}': {
    params: {
      nick_name: string;
      source?: 'search' | 'qr_code';
    };
    answer: {
      data: Profile;
    };
  };
  'POST /messages/{message}/report': {
    params: {
      message: Id;
      reason?: string;
    };
    answer: {
      data: {
        id: Id;
      };
    };
  };
  'POST /profile/{profile}/report': {
    params: {
      profile: Id;
      reason?: string;
    };
    answer: {
      data: {
        id: Id;
      };
    };
  };
  'GET /admin/members': {
    params: {
      search?: string;
      limit?: number;
      next?: string;
    };
    answer: {
      data: Array<{
        id: Id;
        email: string | null;
        verified: boolean;
        active: boolean;
        admin?: true;
        bot?: true;
        created_at: Time;
        profile: Id;
        nick_name: string;
        display_name: string;
      }>;
      next: string | null;
    };
  };
  'POST /admin/members': {
    params: {
      email: string;
      password: string;
    };
    answer: {
      data: Member;
    };
  };
  'POST /admin/members/disable': {
    params: {
      who: string;
    };
    answer: {
      data: Member;
    };
  };
  'POST /admin/members/enable': {
    params: {
      who: string;
    };
    answer: {
      data: Member;
    };
  };
  'POST /admin/members/delete': {
    params: {
      who: string;
    };
    answer: {
      data: Member;
    };
  };
  'POST /admin/members/verify': {
    params: {
      who: string;
    };
    answer: {
      data: Member;
    };
  };
  'POST /admin/members/rename': {
    params: {
      who: string;
      display_name?: string;
      nick_name?: string;
    };
    answer: {
      data: Member;
    };
  };
  'POST /admin/members/revoke': {
    params: {
      who: string;
      session?: Id;
    };
    answer: {
      data: Member;
    };
  };
  'POST /admin/members/reset-link': {
    params: {
      who: string;
    };
    answer: {
      data: {
        url: string;
        expires_at: Time;
      };
    };
  };
  'DELETE /admin/messages/{message}': {
    params: {
      message: Id;
    };
    answer: { data: null };
  };
  'GET /admin/reports': {
    params: {
      limit?: number;
      next?: string;
    };
    answer: {
      data: Array<{
        id: Id;
        created_at: Time;
        reporter: {
          profile: Id;
          member: Id | null;
          nick_name: string;
          display_name: string;
          active: boolean;
        } | null;
        person: {
          profile: Id;
          member: Id | null;
          nick_name: string;
          display_name: string;
          active: boolean;
        };
        message: {
          id: Id;
          body: string;
          files: Array<string>;
          created_at: Time;
          deleted: boolean;
          edited: string | null;
        } | null;
        reason: string;
      }>;
      next: string | null;
    };
  };
  'DELETE /admin/reports/{report}': {
    params: {
      report: Id;
    };
    answer: { data: null };
  };
  'GET /admin/audit': {
    params: {
      limit?: number;
      next?: string;
    };
    answer: {
      data: Array<{
        at: Time;
        who: Id | null;
        who_name: string | null;
        act: string;
        whom: Id | null;
        whom_name: string | null;
        detail: string;
      }>;
      next: string | null;
    };
  };
  'GET /admin/storage': {
    params: {
      limit?: number;
    };
    answer: {
      data: Array<{
        member: Id;
        nick_name: string;
        display_name: string;
        bytes: number;
        files: number;
      }>;
      next: string | null;
    };
  };
  'POST /admin/backup': {
    params: {};
    answer: {
      data: null;
    };
  };
  'GET /admin/server': {
    params: {};
    answer: {
      data: {
        version: string;
        errors: Array<{
          kind: string;
          count: number;
          last_at: Time;
          text: string;
        }>;
        backup: {
          running: boolean;
          last: {
            at: Time;
            bytes: number | null;
            verified: true;
          } | null;
          failed: {
            at: Time;
            text: string;
          } | null;
        };
      };
    };
  };
  'POST /user/reset/link': {
    params: {
      link: string;
      password: string;
    };
    answer: {
      data: null;
    };
  };
  'POST /invites': {
    params: {
      conversation?: Id;
      uses?: number;
      expires_s?: number;
    };
    answer: {
      data: {
        id: Id;
        conversation: Id | null;
        maker: Id | null;
        uses: number;
        uses_max: number;
        created_at: Time;
        expires_at: Time;
        code: string;
        url: string;
      };
    };
  };
  'GET /invites': {
    params: {
      conversation?: Id;
      limit?: number;
      next?: string;
    };
    answer: {
      data: Array<Invite>;
      next: string | null;
    };
  };
  'DELETE /invites/{invite}': {
    params: {
      invite: Id;
    };
    answer: { data: null };
  };
  'POST /invites/check': {
    params: {
      invite: string;
    };
    answer: {
      data: {
        conversation: ConversationBrief | null;
        sign_up: boolean;
      };
    };
  };
  'POST /invites/use': {
    params: {
      invite: string;
    };
    answer: {
      data: Conversation | null;
    };
  };
  'POST /bots': {
    params: {
      display_name: string;
    };
    answer: {
      data: Bot;
    };
  };
  'GET /bots': {
    params: {
      limit?: number;
      next?: string;
    };
    answer: {
      data: Array<Bot>;
      next: string | null;
    };
  };
  'POST /bots/{profile}/tokens': {
    params: {
      profile: Id;
      name: string;
      conversation?: Id;
    };
    answer: {
      data: {
        id: Id;
        name: string;
        conversation: Id | null;
        created_at: Time;
        last_used_at: Time | null;
        token: string;
        url?: string;
      };
    };
  };
  'GET /bots/{profile}/tokens': {
    params: {
      profile: Id;
    };
    answer: {
      data: Array<BotToken>;
      next: string | null;
    };
  };
  'DELETE /bots/{profile}/tokens/{session}': {
    params: {
      profile: Id;
      session: Id;
    };
    answer: { data: null };
  };
  'PUT /bots/{profile}/hook': {
    params: {
      profile: Id;
      url: string;
    };
    answer: {
      data: {
        id: Id;
        url: string;
        seq: number;
        failures: number;
        error: string | null;
        retry_at: Time | null;
        created_at: Time;
        secret: string;
      };
    };
  };
  'GET /bots/{profile}/hook': {
    params: {
      profile: Id;
    };
    answer: {
      data: HookState;
    };
  };
  'DELETE /bots/{profile}/hook': {
    params: {
      profile: Id;
    };
    answer: { data: null };
  };
  'POST /messages': {
    params: {
      conversation?: Id;
      to?: Id;
      client_id: Id;
      body?: string;
      attachments?: Array<Id>;
      reply_to?: Id;
      forward?: Id;
    };
    answer: {
      data: Message;
    } | {
      data: Message | MessagePlace;
      duplicate: true;
    };
  };
  'GET /messages/{message}': {
    params: {
      message: Id;
    };
    answer: {
      data: Message;
    };
  };
  'PUT /messages/{message}': {
    params: {
      message: Id;
      body: string;
    };
    answer: {
      data: Message;
    };
  };
  'DELETE /messages/{message}': {
    params: {
      message: Id;
    };
    answer: { data: null };
  };
  'PUT /messages/{message}/reactions/{emoji}': {
    params: {
      message: Id;
      emoji: string;
    };
    answer: {
      data: Message;
    };
  };
  'DELETE /messages/{message}/reactions/{emoji}': {
    params: {
      message: Id;
      emoji: string;
    };
    answer: {
      data: Message;
    };
  };
  'PUT /messages/{message}/pin': {
    params: {
      message: Id;
    };
    answer: {
      data: Message;
    };
  };
  'DELETE /messages/{message}/pin': {
    params: {
      message: Id;
    };
    answer: {
      data: Message;
    };
  };
  'GET /search': {
    params: {
      q: string;
      conversation?: Id;
      limit?: number;
      next?: string;
    };
    answer: {
      data: Array<Message>;
      next: string | null;
      complete?: false;
    };
  };
  'GET /conversations/{conversation}/messages': {
    params: {
      conversation: Id;
      before?: number;
      after?: number;
      pinned?: boolean;
      limit?: number;
      next?: string;
    };
    answer: {
      data: Array<Message>;
      next: string | null;
    };
  };
  'GET /conversations/{conversation}/files': {
    params: {
      conversation: Id;
      kind: 'media' | 'audio' | 'file';
      before?: number;
      limit?: number;
      next?: string;
    };
    answer: {
      data: Array<ShownFile>;
      next: string | null;
    };
  };
  'GET /conversations': {
    params: {
      limit?: number;
      next?: string;
      archived?: boolean;
    };
    answer: {
      data: Array<Conversation>;
      next: string | null;
      cursor: Cursor | null;
      unread_total: number;
      archived_total: number;
    };
  };
  'POST /conversations': {
    params: {
      client_id?: Id;
      title: string;
      members?: Array<Id>;
    };
    answer: {
      data: Conversation;
    } | {
      data: Conversation;
      duplicate: true;
    };
  };
  'GET /conversations/{conversation}': {
    params: {
      conversation: Id;
    };
    answer: {
      data: Conversation;
    };
  };
  'PUT /conversations/{conversation}': {
    params: {
      conversation: Id;
      title?: string;
      image?: Id | null;
      history?: 'all' | 'joined';
      messages_kept?: number | null;
      muted?: boolean;
      muted_until?: string | null;
      pinned?: boolean;
      archived?: boolean;
      marked_unread?: boolean;
    };
    answer: {
      data: Conversation;
    };
  };
  'POST /conversations/{conversation}/clear': {
    params: {
      conversation: Id;
      hide?: boolean;
    };
    answer: {
      data: Conversation;
    };
  };
  'POST /conversations/{conversation}/read': {
    params: {
      conversation: Id;
      n: number;
    };
    answer: {
      data: Marked;
    };
  };
  'GET /conversations/{conversation}/members': {
    params: {
      conversation: Id;
      limit?: number;
      next?: string;
    };
    answer: {
      data: Array<GroupMember>;
      next: string | null;
    };
  };
  'PUT /conversations/{conversation}/members/{profile}': {
    params: {
      conversation: Id;
      profile: Id;
      role?: 'admin' | 'member';
    };
    answer: {
      data: GroupMember;
    };
  };
  'DELETE /conversations/{conversation}/members/{profile}': {
    params: {
      conversation: Id;
      profile: Id;
    };
    answer: { data: null };
  };
  'POST /uploads': {
    params: {};
    answer: {
      data: Upload;
    };
  };
  'PUT /uploads/{upload}': {
    params: {
      upload: Id;
      alt?: string | null;
      duration_ms?: number | null;
    };
    answer: {
      data: Upload;
    };
  };
  'DELETE /uploads/{upload}': {
    params: {
      upload: Id;
    };
    answer: { data: null };
  };
  'PUT /uploads/{upload}/preview': {
    params: {
      upload: Id;
    };
    answer: {
      data: Upload;
    };
  };
  'GET /events': {
    params: {
      cursor?: string;
      limit?: number;
      wait?: number;
    };
    answer: {
      data: Array<Event>;
      cursor: Cursor;
    };
  };
  'GET /chat-list': {
    params: {};
    answer: unknown;
  };
  'GET /chat-counter': {
    params: {};
    answer: unknown;
  };
  'GET /ws': {
    params: {
      cursor?: string;
      ticket?: string;
      access?: string;
      unique_id?: string;
    };
    answer: { data: null };
  };
  'GET /ws/{sender}/{receiver}': {
    params: {
      sender: Id;
      receiver: Id;
      ticket?: string;
      access?: string;
      unique_id?: string;
    };
    answer: { data: null };
  };
}

export interface RouteOf {
  'sign_up.policy': 'GET /user/sign-up';
  'account.sign_up': 'POST /user/sign-up';
  'account.sign_in': 'POST /user/sign-in';
  'session.refresh': 'POST /user/refresh';
  'session.end': 'POST /user/logout';
  'account.password': 'PUT /user/password';
  'factor.begin': 'POST /user/second-factor';
  'factor.confirm': 'PUT /user/second-factor';
  'factor.remove': 'DELETE /user/second-factor';
  'factor.recovery': 'POST /user/second-factor/recovery';
  'session.list': 'GET /user/sessions';
  'session.revoke': 'DELETE /user/sessions/{session}';
  'ticket.create': 'POST /user/ticket';
  'verify.code': 'POST /user/verify/code';
  'verify.renew': 'POST /user/verify/renew';
  'verify.check': 'POST /user/verify/check';
  'reset.code': 'POST /user/reset/code';
  'reset.password': 'POST /user/reset/password';
  'account.me': 'GET /user/me';
  'account.update': 'PUT /user/me';
  'account.delete': 'DELETE /user/me';
  'account.export': 'GET /user/export';
  'push.key': 'GET /push';
  'push.subscribe': 'PUT /push';
  'push.level': 'PUT /push/{session}';
  'push.unsubscribe': 'DELETE /push/{session}';
  'profile.me': 'GET /profile';
  'profile.update': 'PUT /profile';
  'profile.get': 'GET /profile/{profile}';
  'profile.list': 'GET /profiles';
  'directory': 'GET /directory';
  'block.list': 'GET /blocks';
  'block.put': 'PUT /blocks/{profile}';
  'block.remove': 'DELETE /blocks/{profile}';
  'profile.find': 'GET /{nick_name}';
  'message.report': 'POST /messages/{message}/report';
  'profile.report': 'POST /profile/{profile}/report';
  'admin.member.list': 'GET /admin/members';
  'admin.member.add': 'POST /admin/members';
  'admin.member.disable': 'POST /admin/members/disable';
  'admin.member.enable': 'POST /admin/members/enable';
  'admin.member.delete': 'POST /admin/members/delete';
  'admin.member.verify': 'POST /admin/members/verify';
  'admin.member.rename': 'POST /admin/members/rename';
  'admin.member.revoke': 'POST /admin/members/revoke';
  'admin.member.reset_link': 'POST /admin/members/reset-link';
  'admin.message.delete': 'DELETE /admin/messages/{message}';
  'admin.report.list': 'GET /admin/reports';
  'admin.report.close': 'DELETE /admin/reports/{report}';
  'admin.audit': 'GET /admin/audit';
  'admin.storage': 'GET /admin/storage';
  'admin.server.backup': 'POST /admin/backup';
  'admin.server': 'GET /admin/server';
  'reset.link': 'POST /user/reset/link';
  'invite.create': 'POST /invites';
  'invite.list': 'GET /invites';
  'invite.revoke': 'DELETE /invites/{invite}';
  'invite.check': 'POST /invites/check';
  'invite.use': 'POST /invites/use';
  'bot.create': 'POST /bots';
  'bot.list': 'GET /bots';
  'bot.token.create': 'POST /bots/{profile}/tokens';
  'bot.token.list': 'GET /bots/{profile}/tokens';
  'bot.token.revoke': 'DELETE /bots/{profile}/tokens/{session}';
  'bot.hook.set': 'PUT /bots/{profile}/hook';
  'bot.hook.get': 'GET /bots/{profile}/hook';
  'bot.hook.remove': 'DELETE /bots/{profile}/hook';
  'message.post': 'POST /messages';
  'message.get': 'GET /messages/{message}';
  'message.edit': 'PUT /messages/{message}';
  'message.delete': 'DELETE /messages/{message}';
  'message.react': 'PUT /messages/{message}/reactions/{emoji}';
  'message.unreact': 'DELETE /messages/{message}/reactions/{emoji}';
  'message.pin': 'PUT /messages/{message}/pin';
  'message.unpin': 'DELETE /messages/{message}/pin';
  'message.search': 'GET /search';
  'message.list': 'GET /conversations/{conversation}/messages';
  'file.list': 'GET /conversations/{conversation}/files';
  'conversation.list': 'GET /conversations';
  'conversation.create': 'POST /conversations';
  'conversation.get': 'GET /conversations/{conversation}';
  'conversation.update': 'PUT /conversations/{conversation}';
  'conversation.clear': 'POST /conversations/{conversation}/clear';
  'conversation.read': 'POST /conversations/{conversation}/read';
  'member.list': 'GET /conversations/{conversation}/members';
  'member.add': 'PUT /conversations/{conversation}/members/{profile}';
  'member.remove': 'DELETE /conversations/{conversation}/members/{profile}';
  'upload.create': 'POST /uploads';
  'upload.update': 'PUT /uploads/{upload}';
  'upload.delete': 'DELETE /uploads/{upload}';
  'upload.preview': 'PUT /uploads/{upload}/preview';
  'event.list': 'GET /events';
  'chat.list': 'GET /chat-list';
  'chat.counter': 'GET /chat-counter';
  'socket.open': 'GET /ws';
  'pair.open': 'GET /ws/{sender}/{receiver}';
}

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
    forward?: Id;
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
  'message.pin': {
    id?: string | number;
    op: 'message.pin';
    message: Id;
  };
  'message.unpin': {
    id?: string | number;
    op: 'message.unpin';
    message: Id;
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
    pinned?: boolean;
    limit?: number;
    next?: string;
  };
  'file.list': {
    id?: string | number;
    op: 'file.list';
    conversation: Id;
    kind: 'media' | 'audio' | 'file';
    before?: number;
    limit?: number;
    next?: string;
  };
  'conversation.list': {
    id?: string | number;
    op: 'conversation.list';
    limit?: number;
    next?: string;
    archived?: boolean;
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
    history?: 'all' | 'joined';
    messages_kept?: number | null;
    muted?: boolean;
    muted_until?: string | null;
    pinned?: boolean;
    archived?: boolean;
    marked_unread?: boolean;
  };
  'conversation.clear': {
    id?: string | number;
    op: 'conversation.clear';
    conversation: Id;
    hide?: boolean;
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
  'message.pinned': {
    event: 'message.pinned';
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
  archived_total?: number;
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
