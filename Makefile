.PHONY: dev
dev:
	@image/dev.sh
