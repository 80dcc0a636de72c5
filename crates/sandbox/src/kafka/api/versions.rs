//! What is served.

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::ApiVersionsRequest;
use kafka_protocol::messages::api_versions_response::{ApiVersion, ApiVersionsResponse};

use super::{Answer, Call, SERVED, decode, encode_as};
use crate::kafka::closed::Closed;
use crate::kafka::core::Core;

pub async fn answer(_: &Arc<Core>, call: Call) -> Result<Option<Answer>, Closed> {
    let api_keys = SERVED.iter().map(|served| {
        ApiVersion::default()
            .with_api_key(served.key as i16)
            .with_min_version(served.advertised_min)
            .with_max_version(served.max)
    });
    let response = ApiVersionsResponse::default().with_api_keys(api_keys.collect());
    if !call.fits {
        // A newer client than this broker requests again in a version that it finds here (KIP-511).
        let unsupported = response.with_error_code(ResponseError::UnsupportedVersion.code());
        return encode_as(&call, &unsupported, 0, None).map(Some);
    }
    decode::<ApiVersionsRequest>(&call)?;
    let failed = call.fail.map_or(0, |error| error.code());
    encode_as(&call, &response.with_error_code(failed), call.version, None).map(Some)
}
