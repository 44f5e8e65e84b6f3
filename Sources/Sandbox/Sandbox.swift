// What a server gives up once it has opened what it needs.
