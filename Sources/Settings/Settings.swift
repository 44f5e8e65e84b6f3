// What the command line and the configuration file say.
