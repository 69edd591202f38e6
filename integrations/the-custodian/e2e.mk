# End-to-end validation of a repository in a sandbox on a host: include this, then `make e2e REPO=../project`.
#   HOST=name            the host (sandboxer hosts list); the profile's placement unless said
#   KEEP=1               leave the sandbox for a look; it ends by itself at its deadline
#   WORKSTREAM_ID=id     the run it belongs to
#   SANDBOXER_COMPOSE_CMD, SANDBOXER_SSH_USER, SANDBOXER_SSH_KEY, SANDBOXER_BIN   passed through
WISE_VALIDATOR ?= wise-validator
SANDBOXER_BIN ?= sandboxer

.PHONY: e2e
e2e:
	@test -n "$(REPO)" || { echo 'Say which repository: make e2e REPO=../project' >&2; exit 2; }
	@SANDBOXER_BIN='$(SANDBOXER_BIN)' SANDBOXER_HOST='$(or $(HOST),$(SANDBOXER_HOST))' \
	 SANDBOXER_COMPOSE_CMD='$(SANDBOXER_COMPOSE_CMD)' \
	 $(WISE_VALIDATOR) --repo '$(REPO)' $(if $(KEEP),--keep) $(if $(WORKSTREAM_ID),--run-id '$(WORKSTREAM_ID)')
