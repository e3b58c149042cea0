// verify SECRET ID TIMESTAMP SIGNATURE < BODY: exit code 0 where the stock library takes the delivery, 1 where it does not.
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

func main() {
	webhook, err := standardwebhooks.NewWebhook(os.Args[1])
	if err != nil {
		panic(err)
	}
	body, err := io.ReadAll(os.Stdin)
	if err != nil {
		panic(err)
	}
	headers := http.Header{}
	headers.Set(standardwebhooks.HeaderWebhookID, os.Args[2])
	headers.Set(standardwebhooks.HeaderWebhookTimestamp, os.Args[3])
	headers.Set(standardwebhooks.HeaderWebhookSignature, os.Args[4])
	if err := webhook.Verify(body, headers); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}
