"""Write what a cluster needs: images, a Helm chart and workflows; nothing here reaches a cluster."""
